package milvus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

// tlsListener serves REST with the certificate of the gRPC port, as a REST port of its own does.
func tlsListener(l net.Listener, config *tls.Config) net.Listener {
	c := config.Clone()
	c.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(l, c)
}

// restHandler serves of Milvus' REST API what tells whether it is there: listing, existence and size
// of collections (internal/distributed/proxy/httpserver/handler_v2.go). Other paths answer 404 as
// Gin does.
func (p *proxy) restHandler() http.Handler {
	mux := http.NewServeMux()
	client := milvuspb.NewMilvusServiceClient(p.upstream)
	type body struct {
		CollectionName string `json:"collectionName"`
	}
	route := func(path string, f func(context.Context, body) (any, error)) {
		mux.HandleFunc("POST /v2/vectordb/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			if !p.restAllowed(r) {
				w.WriteHeader(http.StatusUnauthorized)
				json.NewEncoder(w).Encode(map[string]any{"code": 1800, "message": "user hasn't authenticated"})
				return
			}
			var b body
			if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
				json.NewEncoder(w).Encode(map[string]any{"code": 1801, "message": "can only accept json format request, error: " + err.Error()})
				return
			}
			data, err := f(r.Context(), b)
			if err != nil {
				json.NewEncoder(w).Encode(map[string]any{"code": 65535, "message": err.Error()})
				return
			}
			json.NewEncoder(w).Encode(map[string]any{"code": 0, "data": data})
		})
	}
	route("collections/list", func(ctx context.Context, _ body) (any, error) {
		found, err := client.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{})
		if err != nil {
			return nil, err
		}
		return append([]string{}, found.GetCollectionNames()...), nil
	})
	route("collections/has", func(ctx context.Context, b body) (any, error) {
		found, err := client.HasCollection(ctx, &milvuspb.HasCollectionRequest{CollectionName: b.CollectionName})
		if err != nil {
			return nil, err
		}
		return map[string]any{"has": found.GetValue()}, nil
	})
	route("collections/get_stats", func(ctx context.Context, b body) (any, error) {
		found, err := client.GetCollectionStatistics(ctx, &milvuspb.GetCollectionStatisticsRequest{CollectionName: b.CollectionName})
		if err != nil {
			return nil, err
		}
		data := map[string]any{}
		for _, s := range found.GetStats() {
			if s.GetKey() == "row_count" {
				data["rowCount"] = json.Number(s.GetValue())
			}
		}
		return data, nil
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte("404 page not found"))
	})
	return mux
}

// restAllowed checks basic credentials or a bearer token user:password.
func (p *proxy) restAllowed(r *http.Request) bool {
	if !p.c.config.truth("common.security.authorizationEnabled") {
		return true
	}
	if user, password, ok := r.BasicAuth(); ok {
		return p.c.passwordIsRight(user, password)
	}
	user, password, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ":")
	return p.c.passwordIsRight(user, password)
}
