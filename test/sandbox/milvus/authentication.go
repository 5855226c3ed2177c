package milvus

import (
	"context"
	"encoding/base64"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// authenticate checks a call as internal/proxy/authentication_interceptor.go does. The one user is
// root, with the configured default password.
func (p *proxy) authenticate(ctx context.Context) error {
	if !p.c.config.truth("common.security.authorizationEnabled") {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	tokens := md.Get("authorization")
	if len(tokens) == 0 {
		return status.Error(codes.Unauthenticated, "missing authorization in header")
	}
	raw, err := base64.StdEncoding.DecodeString(tokens[0])
	if err != nil {
		return status.Error(codes.Unauthenticated, "invalid token format")
	}
	user, password, found := strings.Cut(string(raw), ":")
	if !found {
		return status.Error(codes.Unauthenticated, "auth check failure, please check api key is correct")
	}
	if !p.c.passwordIsRight(user, password) {
		return status.Error(codes.Unauthenticated, "auth check failure, please check username and password are correct")
	}
	return nil
}

func (c *component) passwordIsRight(user, password string) bool {
	return user == "root" && password == c.config.text("common.security.defaultRootPassword")
}

// authenticateUnary guards the registered services, the health service among them, as in Milvus.
func (p *proxy) authenticateUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := p.authenticate(ctx); err != nil {
		return nil, err
	}
	return next(ctx, req)
}
