package milvus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
)

// health is what /healthz reports.
type health struct {
	component string
	ok        atomic.Bool
}

func (h *health) set(ok bool) { h.ok.Store(ok) }

// serveManagement serves /healthz and /metrics on 9091: always plain HTTP, whatever the TLS mode
// (internal/http/server.go). It gives what closes it.
func (c *component) serveManagement(h *health) (func(), error) {
	l, err := c.listen(c.config.text("metrics.port"))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", h.serve)
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		fmt.Fprintf(w, "# HELP milvus_build_info Build information of milvus\n# TYPE milvus_build_info gauge\nmilvus_build_info{version=%q} 1\n", c.tag)
		fmt.Fprintf(w, "# HELP milvus_num_node number of nodes and coordinates\n# TYPE milvus_num_node gauge\nmilvus_num_node{role_name=%q} 1\n", c.name)
	})
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	return func() { s.Close() }, nil
}

// serve answers as internal/http/healthz/healthz_handler.go.
func (h *health) serve(w http.ResponseWriter, r *http.Request) {
	state, code := "OK", 1 // commonpb.StateCode_Healthy
	if !h.ok.Load() {
		state, code = "Not all components are healthy, 0/1", 2
		w.WriteHeader(http.StatusInternalServerError)
	}
	if r.Header.Get("Content-Type") == "application/json" {
		json.NewEncoder(w).Encode(map[string]any{"state": state, "detail": []map[string]any{{"name": h.component, "code": code}}})
		return
	}
	fmt.Fprint(w, state)
}
