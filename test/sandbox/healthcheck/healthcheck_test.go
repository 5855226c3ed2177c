package healthcheck

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sandbox/clock"
	"sandbox/compute"
	"sandbox/part"
)

func TestHealthFollowsTheEndpoint(t *testing.T) {
	var status, calls atomic.Int64
	status.Store(200)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && r.UserAgent() == "GoogleHC/1.0" {
			calls.Add(1)
			w.WriteHeader(int(status.Load()))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	port, err := strconv.ParseFloat(address[strings.LastIndex(address, ":")+1:], 64)
	if err != nil {
		t.Fatal(err)
	}
	store := compute.NewStore(compute.Config{Project: "p", Region: "r", Zones: []string{"z"}})
	do := func(path string, body compute.Object) string {
		t.Helper()
		b, failure := store.Do(http.MethodPost, "v1", path, body, "")
		if failure != nil {
			t.Fatal(failure)
		}
		return string(b)
	}
	// The endpoint's own port is not the one that is checked, as with Milvus' 19530 and 9091.
	do("zones/z/networkEndpointGroups", compute.Object{"name": "neg"})
	do("zones/z/networkEndpointGroups/neg/attachNetworkEndpoints", compute.Object{"networkEndpoints": []any{compute.Object{"ipAddress": "127.0.0.1", "port": float64(19530)}}})
	do("global/healthChecks", compute.Object{
		"name": "hc", "type": "HTTP", "checkIntervalSec": float64(15), "timeoutSec": float64(15), "healthyThreshold": float64(1), "unhealthyThreshold": float64(2),
		"httpHealthCheck": compute.Object{"port": port, "portSpecification": "USE_FIXED_PORT", "requestPath": "/healthz"},
	})
	do("global/backendServices", compute.Object{
		"name": "b", "healthChecks": []any{"projects/p/global/healthChecks/hc"}, "backends": []any{compute.Object{"group": "projects/p/zones/z/networkEndpointGroups/neg"}},
	})
	c, err := clock.New(150) // the shortest interval, 100 ms
	if err != nil {
		t.Fatal(err)
	}
	p := Start(t.Context(), store, c, slog.New(slog.DiscardHandler))
	endpoint := compute.Endpoint{Group: "neg", Address: "127.0.0.1", Port: 19530}
	expect := func(want string) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); p.State("b", endpoint) != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("state %q, want %q", p.State("b", endpoint), want)
			}
		}
	}
	expect(Healthy)
	if got := do("global/backendServices/b/getHealth", compute.Object{"group": "projects/p/zones/z/networkEndpointGroups/neg"}); !strings.Contains(got, `"healthState":"HEALTHY"`) {
		t.Errorf("getHealth: %s", got)
	}
	status.Store(503)
	before := calls.Load()
	expect(Unhealthy)
	if n := calls.Load() - before; n < 2 {
		t.Errorf("unhealthy after %d failures, the threshold is 2", n)
	}
	if err := p.SetState(part.Paused); err != nil {
		t.Fatal(err)
	}
	status.Store(200)
	time.Sleep(300 * time.Millisecond) // three intervals
	if s := p.State("b", endpoint); s != Unhealthy {
		t.Errorf("paused, the state changed to %s", s)
	}
	if err := p.SetState(part.Running); err != nil {
		t.Fatal(err)
	}
	expect(Healthy)
	do("zones/z/networkEndpointGroups/neg/detachNetworkEndpoints", compute.Object{"networkEndpoints": []any{compute.Object{"ipAddress": "127.0.0.1", "port": float64(19530)}}})
	expect("")
}
