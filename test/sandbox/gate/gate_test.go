package gate

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sandbox/part"
)

func TestStates(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	g := New()
	transport := &http.Transport{DialContext: g.Dial}
	defer transport.CloseIdleConnections()
	get := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		response, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	for _, step := range []struct {
		state part.State
		works bool
	}{{part.Running, true}, {part.Paused, false}, {part.Running, true}, {part.Killed, false}, {part.Running, true}} {
		if err := g.SetState(step.state); err != nil {
			t.Fatal(err)
		}
		limit := 200 * time.Millisecond
		if step.works {
			limit = 5 * time.Second
		}
		if err := get(limit); (err == nil) != step.works {
			t.Errorf("%s: %v", step.state, err)
		}
	}
}
