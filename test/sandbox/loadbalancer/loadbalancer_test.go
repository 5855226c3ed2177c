package loadbalancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"sandbox/authority"
	"sandbox/compute"
	"sandbox/healthcheck"
	"sandbox/part"
)

const host = "milvus.example.com"

// fixture is a load balancer on a loopback port in front of the endpoints that a test attaches.
type fixture struct {
	t        *testing.T
	store    *compute.Store
	balancer *Balancer
	ca       *authority.Authority
	address  string
	state    atomic.Value // health of all endpoints
}

func newFixture(t *testing.T, backendService compute.Object) *fixture {
	ca, err := authority.New(t.TempDir(), "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, ca: ca, store: compute.NewStore(compute.Config{Project: "p", Region: "r", Zones: []string{"z"}})}
	f.state.Store(healthcheck.Healthy)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(f.address)
	cert, key, err := ca.Issue(authority.Request{CommonName: host, DNSNames: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	f.do("POST", "zones/z/networkEndpointGroups", compute.Object{"name": "neg"})
	service := compute.Object{"name": "service", "protocol": "HTTP2", "backends": []any{compute.Object{"group": "projects/p/zones/z/networkEndpointGroups/neg"}}}
	for k, v := range backendService {
		service[k] = v
	}
	f.do("POST", "global/backendServices", service)
	f.do("POST", "global/backendServices", compute.Object{"name": "default", "protocol": "HTTP"})
	f.do("POST", "global/urlMaps", compute.Object{
		"name": "map", "defaultService": "projects/p/global/backendServices/default",
		"hostRules":    []any{compute.Object{"hosts": []any{host}, "pathMatcher": "m"}},
		"pathMatchers": []any{compute.Object{"name": "m", "defaultService": "projects/p/global/backendServices/service"}},
	})
	f.do("POST", "global/sslCertificates", compute.Object{"name": "cert", "certificate": string(cert), "privateKey": string(key)})
	f.do("POST", "global/targetHttpsProxies", compute.Object{"name": "proxy", "urlMap": "projects/p/global/urlMaps/map", "sslCertificates": []any{"projects/p/global/sslCertificates/cert"}})
	f.do("POST", "global/forwardingRules", compute.Object{"name": "rule", "IPAddress": "127.0.0.1", "portRange": port, "target": "https://www.googleapis.com/compute/v1/projects/p/global/targetHttpsProxies/proxy"})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f.balancer = start(ctx, f.store, func(string, compute.Endpoint) string { return f.state.Load().(string) }, slog.New(slog.DiscardHandler))
	for end := time.Now().Add(5 * time.Second); len(f.balancer.Addresses()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the load balancer does not listen")
		}
	}
	return f
}

// do calls the Compute API with a body in the form it has after JSON decoding.
func (f *fixture) do(method, path string, body compute.Object) {
	f.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	var decoded compute.Object
	if err := json.Unmarshal(b, &decoded); err != nil {
		f.t.Fatal(err)
	}
	if _, failure := f.store.Do(method, "v1", path, decoded, ""); failure != nil {
		f.t.Fatalf("%s %s: %v", method, path, failure)
	}
}

func (f *fixture) endpoints(verb, address string) {
	f.t.Helper()
	h, port, _ := net.SplitHostPort(address)
	var number int
	fmt.Sscan(port, &number)
	f.do("POST", "zones/z/networkEndpointGroups/neg/"+verb, compute.Object{"networkEndpoints": []any{compute.Object{"ipAddress": h, "port": number}}})
}

func (f *fixture) attach(address string) {
	f.t.Helper()
	f.endpoints("attachNetworkEndpoints", address)
}
func (f *fixture) detach(address string) {
	f.t.Helper()
	f.endpoints("detachNetworkEndpoints", address)
}

func (f *fixture) clientTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.ca.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: host}
}

func (f *fixture) backendTLS() *tls.Config {
	cert, key, err := f.ca.Issue(authority.Request{CommonName: "backend"})
	if err != nil {
		f.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}
}

// backend serves HTTP/2 over TLS on a loopback port.
func (f *fixture) backend(handler http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	s := &http.Server{Handler: handler, Protocols: protocols, TLSConfig: f.backendTLS(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = s.ServeTLS(l, "", "") }()
	f.t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func (f *fixture) client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{Protocols: protocols, TLSClientConfig: f.clientTLS(), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, f.address)
	}}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func (f *fixture) get(c *http.Client, h, path string) (int, string) {
	f.t.Helper()
	r, err := c.Get("https://" + h + path)
	if err != nil {
		f.t.Error(err) // not Fatal: tests call this from goroutines too
		return 0, ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return r.StatusCode, err.Error()
	}
	return r.StatusCode, string(b)
}

func TestServerErrors(t *testing.T) {
	f := newFixture(t, compute.Object{"timeoutSec": 1})
	c := f.client()
	if code, body := f.get(c, host, "/"); code != 503 || !strings.Contains(body, "<title>503 Server Error</title>") {
		t.Errorf("without endpoints: %d %s", code, body)
	}
	release := make(chan struct{})
	address := f.backend(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		_, _ = io.WriteString(w, r.Host+" "+r.Header.Get("X-Forwarded-Proto")+" "+r.Header.Get("Via"))
	}))
	defer close(release)
	f.attach(address)
	if code, body := f.get(c, host, "/"); code != 200 || body != host+" https 1.1 google" {
		t.Errorf("with an endpoint: %d %q", code, body)
	}
	if code, _ := f.get(c, host, "/slow"); code != 504 {
		t.Errorf("beyond the backend time-out: %d", code)
	}
	f.state.Store(healthcheck.Unhealthy)
	if code, _ := f.get(c, host, "/"); code != 502 {
		t.Errorf("without healthy endpoint: %d", code)
	}
	f.state.Store(healthcheck.Healthy)
	f.detach(address)
	f.attach("127.0.0.1:1")
	if code, _ := f.get(c, host, "/"); code != 502 {
		t.Errorf("endpoint refuses connections: %d", code)
	}
}

func TestBackendTimeoutEndsStreams(t *testing.T) {
	f := newFixture(t, compute.Object{"timeoutSec": 1})
	f.attach(f.backend(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // a stream that is never idle
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})))
	begin := time.Now()
	code, text := f.get(f.client(), host, "/")
	if took := time.Since(begin); code != 200 || !strings.Contains(text, "stream error") || took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("status %d, %q after %s", code, text, took)
	}
}

func TestNoRequestStartsOnADepartedEndpoint(t *testing.T) {
	f := newFixture(t, compute.Object{"connectionDraining": compute.Object{"drainingTimeoutSec": 5}})
	var late atomic.Int64
	var gone atomic.Bool
	handler := func(counts bool) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if counts && gone.Load() {
				late.Add(1)
			}
		})
	}
	leaving, staying := f.backend(handler(true)), f.backend(handler(false))
	f.attach(leaving)
	f.attach(staying)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		c := f.client()
		callers.Add(1)
		go func() {
			defer callers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r, err := c.Get("https://" + host); err != nil || r.StatusCode != 200 {
					t.Errorf("a request failed: %v", err)
					return
				} else {
					r.Body.Close()
				}
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	f.detach(leaving)
	time.Sleep(50 * time.Millisecond) // requests already chosen for it arrive
	gone.Store(true)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	callers.Wait()
	if n := late.Load(); n != 0 {
		t.Errorf("%d requests reached the endpoint after it had left", n)
	}
}

func TestConnectionDraining(t *testing.T) {
	f := newFixture(t, compute.Object{"timeoutSec": 60, "connectionDraining": compute.Object{"drainingTimeoutSec": 1}})
	arrived := make(chan chan struct{}, 2)
	address := f.backend(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		finish := make(chan struct{})
		arrived <- finish
		select {
		case <-finish:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}))
	f.attach(address)
	type answer struct {
		code int
		body string
	}
	answers := make(chan answer, 2)
	ask := func() chan struct{} {
		go func() {
			code, body := f.get(f.client(), host, "/")
			answers <- answer{code, body}
		}()
		return <-arrived
	}
	quick := ask()
	ask() // this one never finishes by itself
	f.detach(address)
	close(quick)
	if a := <-answers; a.code != 200 || a.body != "done" {
		t.Errorf("a request that ends while draining: %+v", a)
	}
	begin := time.Now()
	if a := <-answers; a.code != 502 {
		t.Errorf("a request beyond the draining time-out: %+v", a)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("draining took %s", took)
	}
}

type echoHealth struct {
	healthpb.UnimplementedHealthServer
}

func (echoHealth) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if r.Service == "fail" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("reason", "asked-for"))
		return nil, status.Error(codes.ResourceExhausted, "no: quota exceeded")
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("cost", "7"))
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (echoHealth) Watch(_ *healthpb.HealthCheckRequest, s grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	_ = s.SendHeader(metadata.Pairs("early", "yes"))
	<-s.Context().Done()
	return s.Context().Err()
}

func TestGRPC(t *testing.T) {
	f := newFixture(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(f.backendTLS())))
	healthpb.RegisterHealthServer(server, echoHealth{})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	f.attach(l.Addr().String())
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(credentials.NewTLS(f.clientTLS())), grpc.WithAuthority(host))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var trailer metadata.MD
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil || len(trailer["cost"]) != 1 {
		t.Errorf("success: %v, trailer %v", err, trailer)
	}
	trailer = nil
	_, err = client.Check(ctx, &healthpb.HealthCheckRequest{Service: "fail"}, grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || s.Message() != "no: quota exceeded" || len(trailer["reason"]) != 1 {
		t.Errorf("failure: %v, trailer %v", err, trailer)
	}
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := watch.Header(); err != nil || len(h["early"]) != 1 {
		t.Errorf("headers of a stream come before its first message: %v %v", h, err)
	}
	f.state.Store(healthcheck.Unhealthy)
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("502 of the load balancer: %v", err)
	}
}

func TestHandshake(t *testing.T) {
	f := newFixture(t, nil)
	state := func(config *tls.Config) (tls.ConnectionState, error) {
		c, err := tls.Dial("tcp", f.address, config)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer c.Close()
		return c.ConnectionState(), nil
	}
	config := f.clientTLS()
	config.NextProtos = []string{"h2", "http/1.1"}
	if s, err := state(config); err != nil || s.NegotiatedProtocol != "h2" {
		t.Errorf("ALPN: %q %v", s.NegotiatedProtocol, err)
	}
	old := f.clientTLS()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	old.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	if _, err := state(old); err != nil {
		t.Errorf("TLS 1.1 without an SSL policy: %v", err)
	}
	f.do("POST", "global/sslPolicies", compute.Object{"name": "modern", "minTlsVersion": "TLS_1_2"})
	f.do("POST", "global/targetHttpsProxies/proxy/setSslPolicy", compute.Object{"sslPolicy": "projects/p/global/sslPolicies/modern"})
	if _, err := state(old); err == nil {
		t.Error("TLS 1.1 was taken against the SSL policy")
	}
	f.do("POST", "global/targetHttpsProxies/proxy/setSslCertificates", compute.Object{"sslCertificates": []any{}})
	if _, err := state(f.clientTLS()); err == nil {
		t.Error("a handshake succeeded without any certificate")
	}
}

func TestStates(t *testing.T) {
	f := newFixture(t, nil)
	f.attach(f.backend(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for _, step := range []struct {
		state part.State
		works bool
	}{{part.Paused, false}, {part.Running, true}, {part.Killed, false}, {part.Running, true}} {
		if err := f.balancer.SetState(step.state); err != nil {
			t.Fatal(err)
		}
		c := f.client()
		c.Timeout = 300 * time.Millisecond
		if step.works {
			c.Timeout = 5 * time.Second
		}
		r, err := c.Get("https://" + host)
		if err == nil {
			r.Body.Close()
		}
		if (err == nil) != step.works {
			t.Errorf("%s: %v", step.state, err)
		}
		var timeout interface{ Timeout() bool }
		if step.state == part.Killed && errors.As(err, &timeout) && timeout.Timeout() {
			t.Error("killed, the load balancer still takes connections")
		}
	}
}
