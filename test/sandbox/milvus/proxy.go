package milvus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/soheilhy/cmux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"sandbox/milvus/store"
)

// errSharedPort is how Milvus ≥ 2.4.13 refuses TLS while REST shares the gRPC port (listener_manager.go).
var errSharedPort = errors.New("proxy server(http) and external grpc server share the same port, tls mode must be 0")

// drainTimeout bounds the graceful stop; calls that take longer are cut, as when the pod's grace
// period ends.
const drainTimeout = 25 * time.Second

// proxy is the external side of a Milvus proxy or standalone.
type proxy struct {
	c        *component
	upstream *grpc.ClientConn // the store
	server   *grpc.Server
	grpc     net.Listener
	mux      cmux.CMux    // nil unless REST shares the port
	rest     net.Listener // nil when REST is not served
	web      *http.Server
}

// newProxy opens the ports. Its errors are what keeps that version of Milvus from starting.
func newProxy(c *component) (*proxy, error) {
	p := &proxy{c: c}
	var err error
	port := c.config.number("proxy.port")
	external, err := c.listen(strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	logInfo("proxy/listener_manager.go", "Proxy listen on external grpc listener", "address", "[::]:"+strconv.Itoa(port), "port", strconv.Itoa(port))
	p.grpc = external
	secure, err := c.tlsConfig()
	shared := c.config.text("proxy.http.port") == "" || c.config.number("proxy.http.port") == port
	switch {
	case !c.config.truth("proxy.http.enabled"):
		logInfo("proxy/listener_manager.go", "Proxy server(http) is disabled, skip initialize http listener")
	case shared && c.config.number("common.security.tlsMode") != 0:
		if c.atLeast("2.4.13") {
			logWarn("proxy/listener_manager.go", "can not initialize http listener", "error", errSharedPort.Error())
			return nil, errSharedPort
		}
		// up to 2.4.12 REST is then left out without a word
	case shared:
		logInfo("proxy/listener_manager.go", "Proxy server(http) and external grpc server share the same port")
		p.mux = cmux.New(external)
		p.grpc, p.rest = p.mux.Match(cmux.HTTP2()), p.mux.Match(cmux.Any())
	default:
		if err != nil {
			return nil, err
		}
		if p.rest, err = c.listen(c.config.text("proxy.http.port")); err != nil {
			return nil, err
		}
		logInfo("proxy/listener_manager.go", "Proxy server(http) listen on", "port", c.config.text("proxy.http.port"))
	}
	if err != nil {
		return nil, err
	}
	p.upstream, err = grpc.NewClient("passthrough:///store", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(c.dialStore), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the store: %w", err)
	}
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(p.handle),
		grpc.UnaryInterceptor(p.authenticateUnary),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 60 * time.Second, Timeout: 10 * time.Second}),
		grpc.MaxRecvMsgSize(c.config.number("proxy.grpc.serverMaxRecvSize")),
		grpc.MaxSendMsgSize(c.config.number("proxy.grpc.serverMaxSendSize")),
	}
	if secure != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secure)))
		if p.rest != nil {
			p.rest = tlsListener(p.rest, secure)
		}
	}
	p.server = grpc.NewServer(options...)
	healthy := grpchealth.NewServer()
	healthy.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(p.server, healthy)
	return p, nil
}

// dialStore finds the store anew for every connection, so that one that ended is started again.
func (c *component) dialStore(ctx context.Context, _ string) (net.Conn, error) {
	address, err := store.Find(ctx, c.store, store.Bucket{Address: c.config.text("minio.address"), BucketName: c.config.text("minio.bucketName"), RootPath: c.config.text("minio.rootPath")})
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// serve runs until ctx ends, then stops accepting and lets running calls finish.
func (p *proxy) serve(ctx context.Context) error {
	var all sync.WaitGroup
	if p.rest != nil {
		p.web = &http.Server{Handler: p.restHandler(), ReadHeaderTimeout: time.Second}
		all.Add(1)
		go func() { defer all.Done(); p.web.Serve(p.rest) }()
	}
	if p.mux != nil {
		go p.mux.Serve()
	}
	failed := make(chan error, 1)
	all.Add(1)
	go func() { defer all.Done(); failed <- p.server.Serve(p.grpc) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	logInfo("proxy/service.go", "Proxy stop", "component", p.c.name)
	cut := time.AfterFunc(drainTimeout, p.server.Stop)
	defer cut.Stop()
	if p.mux != nil {
		p.mux.Close()
	}
	if p.web != nil {
		bounded, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		go p.web.Shutdown(bounded)
	}
	p.server.GracefulStop()
	p.upstream.Close()
	logInfo("proxy/service.go", "Proxy external grpc server exited")
	return nil
}

// handle answers a call: some by itself, all others by forwarding.
func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	if err := p.authenticate(stream.Context()); err != nil {
		return err
	}
	method, ok := grpc.MethodFromServerStream(stream)
	if !ok {
		return status.Error(codes.Internal, "no method in the stream")
	}
	switch method {
	case milvuspb.MilvusService_Connect_FullMethodName:
		return reply(stream, &milvuspb.ConnectRequest{}, &milvuspb.ConnectResponse{Status: &commonpb.Status{}, ServerInfo: p.serverInfo(), Identifier: time.Now().UnixNano()})
	case milvuspb.MilvusService_GetVersion_FullMethodName:
		return reply(stream, &milvuspb.GetVersionRequest{}, &milvuspb.GetVersionResponse{Status: &commonpb.Status{}, Version: p.c.tag})
	case milvuspb.MilvusService_CheckHealth_FullMethodName:
		reasons, err := p.missing(stream.Context())
		if err != nil {
			return status.Errorf(codes.Unavailable, "asking for the components: %v", err)
		}
		return reply(stream, &milvuspb.CheckHealthRequest{}, &milvuspb.CheckHealthResponse{Status: &commonpb.Status{}, IsHealthy: len(reasons) == 0, Reasons: reasons})
	case milvuspb.MilvusService_ListDatabases_FullMethodName: // Milvus Lite has one database and no call to list it
		return reply(stream, &milvuspb.ListDatabasesRequest{}, &milvuspb.ListDatabasesResponse{Status: &commonpb.Status{}, DbNames: []string{"default"}, CreatedTimestamp: []uint64{1}})
	}
	return p.forward(stream, method)
}

// missing gives, in the words of internal/proxy/impl.go CheckHealth, why a cluster is not healthy: a
// coordinator that is not there.
func (p *proxy) missing(ctx context.Context) ([]string, error) {
	if p.c.name == "standalone" {
		return nil, nil
	}
	ready, err := store.Components(ctx, p.c.store)
	if err != nil {
		return nil, err
	}
	if slices.Contains(ready, "mixcoord") {
		return nil, nil
	}
	var reasons []string
	separate := []string{"rootcoord", "querycoord", "datacoord"}
	if p.c.atLeast("2.6.0") {
		separate = []string{"mixcoord"}
	}
	for _, coordinator := range separate {
		if !slices.Contains(ready, coordinator) {
			reasons = append(reasons, "check health fail for "+coordinator)
		}
	}
	return reasons, nil
}

func (p *proxy) serverInfo() *commonpb.ServerInfo {
	mode := "DISTRIBUTED"
	if p.c.name == "standalone" {
		mode = "STANDALONE"
	}
	return &commonpb.ServerInfo{BuildTags: p.c.tag, BuildTime: "Thu Jan  1 00:00:00 UTC 2026", GitCommit: "0000000", GoVersion: runtime.Version(), DeployMode: mode}
}

// reply reads the one request and answers it.
func reply(stream grpc.ServerStream, request, response proto.Message) error {
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	return stream.SendMsg(response)
}

// forward passes a call to the store with its metadata, messages, headers, trailers and status as
// they are.
func (p *proxy) forward(down grpc.ServerStream, method string) error {
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		md = md.Copy()
		for _, own := range []string{":authority", "content-type", "user-agent", "authorization"} {
			md.Delete(own)
		}
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	up, err := p.upstream.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		for {
			var f frame
			if err := down.RecvMsg(&f); err != nil {
				if errors.Is(err, io.EOF) {
					up.CloseSend()
				} else {
					cancel()
				}
				return
			}
			if up.SendMsg(&f) != nil {
				return
			}
		}
	}()
	for first := true; ; first = false {
		var f frame
		err := up.RecvMsg(&f)
		if first {
			header, headerErr := up.Header()
			if headerErr == nil && len(header) > 0 {
				if err := down.SendHeader(header); err != nil {
					return err
				}
			}
		}
		if err != nil {
			down.SetTrailer(up.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := down.SendMsg(&f); err != nil {
			return err
		}
	}
}
