// Package healthcheck performs the health checks that backend services name, against their endpoints.
package healthcheck

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	googlecompute "google.golang.org/api/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"sandbox/clock"
	"sandbox/compute"
	"sandbox/loop"
	"sandbox/part"
)

const (
	// Healthy is the state of an endpoint that gets requests.
	Healthy = "HEALTHY"
	// Unhealthy is the state of an endpoint that failed its checks or did not pass them yet.
	Unhealthy = "UNHEALTHY"
)

// target is one endpoint as seen by one backend service.
type target struct {
	service  string
	endpoint compute.Endpoint
}

// Prober keeps the health of every endpoint.
type Prober struct {
	store *compute.Store
	clock *clock.Clock
	log   *slog.Logger

	mu     sync.RWMutex
	state  part.State
	health map[target]string
	probes map[target]*probe
}

// probe is the loop of one target.
type probe struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	check  *googlecompute.HealthCheck
}

// Start probes until ctx ends, and answers the store's questions about health.
func Start(ctx context.Context, store *compute.Store, clock *clock.Clock, log *slog.Logger) *Prober {
	p := &Prober{store: store, clock: clock, log: log, state: part.Running, health: map[target]string{}, probes: map[target]*probe{}}
	store.SetHealth(p.of)
	changed := store.Changed()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				p.follow(ctx)
			}
		}
	}()
	return p
}

// SetState pauses (states stay as they are) or kills (states are forgotten) the prober, or runs it again.
func (p *Prober) SetState(state part.State) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	if state == part.Killed {
		clear(p.health)
	}
	return nil
}

// State is the health of an endpoint; empty before its first check.
func (p *Prober) State(service string, e compute.Endpoint) string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.health[target{service, e}]
}

func (p *Prober) of(service, group string) []compute.HealthState {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var out []compute.HealthState
	for t, state := range p.health {
		if t.service == service && t.endpoint.Group == group {
			out = append(out, compute.HealthState{Address: t.endpoint.Address, Port: t.endpoint.Port, State: state})
		}
	}
	slices.SortFunc(out, func(a, b compute.HealthState) int {
		if a.Address != b.Address {
			return slices.Compare([]byte(a.Address), []byte(b.Address))
		}
		return int(a.Port - b.Port)
	})
	return out
}

// follow starts and ends probes, so that there is one for each endpoint that has a health check.
func (p *Prober) follow(ctx context.Context) {
	n, err := p.store.Snapshot()
	if err != nil {
		p.log.Error("health checks keep their targets", "error", err.Error())
		return
	}
	want := map[target]*googlecompute.HealthCheck{}
	for _, service := range n.BackendServices {
		if len(service.HealthChecks) == 0 {
			continue
		}
		check := n.HealthChecks[compute.Name(service.HealthChecks[0])]
		if check == nil {
			continue
		}
		for _, e := range n.Endpoints(service) {
			want[target{service.Name, e}] = check
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, running := range p.probes {
		if want[t] == nil {
			running.cancel()
			delete(p.probes, t)
			delete(p.health, t)
		}
	}
	for t := range maps.Keys(want) {
		if running := p.probes[t]; running != nil {
			running.mu.Lock()
			running.check = want[t]
			running.mu.Unlock()
			continue
		}
		probeCtx, cancel := context.WithCancel(ctx)
		p.probes[t] = &probe{cancel: cancel, check: want[t]}
		go p.run(probeCtx, t, p.probes[t])
	}
}

func (p *Prober) run(ctx context.Context, t target, own *probe) {
	var passed, failed int64
	for {
		own.mu.Lock()
		check := own.check
		own.mu.Unlock()
		p.mu.RLock()
		active := p.state == part.Running
		p.mu.RUnlock()
		if active {
			err := p.Probe(ctx, check, t.endpoint)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				passed, failed = passed+1, 0
			} else {
				passed, failed = 0, failed+1
			}
			p.record(t, own, passed, failed, check, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.clock.Scale(time.Duration(max(check.CheckIntervalSec, 1))*time.Second, 100*time.Millisecond)):
		}
	}
}

func (p *Prober) record(t target, own *probe, passed, failed int64, check *googlecompute.HealthCheck, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.probes[t] != own || p.state != part.Running {
		return
	}
	before := p.health[t]
	now := before
	switch {
	case passed >= max(check.HealthyThreshold, 1):
		now = Healthy
	case failed >= max(check.UnhealthyThreshold, 1) || before == "":
		now = Unhealthy
	}
	p.health[t] = now
	if now != before {
		p.log.Info("health", "backendService", t.service, "address", t.endpoint.Address, "port", t.endpoint.Port, "state", now, "error", fmt.Sprint(err))
	}
}

// Probe makes one check as Google's prober does: status 200 for the HTTP kinds, SERVING for gRPC, a
// connection for TCP. Certificates are not verified
// (cloud.google.com/load-balancing/docs/health-check-concepts).
func (p *Prober) Probe(ctx context.Context, check *googlecompute.HealthCheck, e compute.Endpoint) error {
	timeout := p.clock.Scale(time.Duration(max(check.TimeoutSec, 1))*time.Second, time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := func(port int64, specification string) string {
		if specification == "USE_SERVING_PORT" || port == 0 {
			port = e.Port
		}
		return net.JoinHostPort(loop.Address(e.Address), strconv.FormatInt(port, 10))
	}
	switch {
	case check.Type == "HTTP" && check.HttpHealthCheck != nil:
		c := check.HttpHealthCheck
		return get(ctx, "http", address(c.Port, c.PortSpecification), c.RequestPath, c.Host, false)
	case check.Type == "HTTPS" && check.HttpsHealthCheck != nil:
		c := check.HttpsHealthCheck
		return get(ctx, "https", address(c.Port, c.PortSpecification), c.RequestPath, c.Host, false)
	case check.Type == "HTTP2" && check.Http2HealthCheck != nil:
		c := check.Http2HealthCheck
		return get(ctx, "https", address(c.Port, c.PortSpecification), c.RequestPath, c.Host, true)
	case check.Type == "GRPC" && check.GrpcHealthCheck != nil:
		c := check.GrpcHealthCheck
		return askGRPC(ctx, address(c.Port, c.PortSpecification), c.GrpcServiceName)
	case check.Type == "TCP" && check.TcpHealthCheck != nil:
		c := check.TcpHealthCheck
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address(c.Port, c.PortSpecification))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return fmt.Errorf("the health check %s has no settings of its type %q", check.Name, check.Type)
}

func get(ctx context.Context, scheme, address, path, host string, http2 bool) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{DisableKeepAlives: true, Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	if path == "" {
		path = "/"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "GoogleHC/1.0")
	if host != "" {
		request.Host = host
	}
	response, err := transport.RoundTrip(request) // redirects are not followed
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func askGRPC(ctx context.Context, address, service string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	if answer.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("status %v", answer.Status)
	}
	return nil
}
