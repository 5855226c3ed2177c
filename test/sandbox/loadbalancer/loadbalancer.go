// Package loadbalancer is the data plane of a global external Application Load Balancer. Nothing but the
// Compute resources drive it: forwarding rules, target proxies, URL maps, backend services and their
// network endpoint groups, and the health of the endpoints.
package loadbalancer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	googlecompute "google.golang.org/api/compute/v1"

	"sandbox/compute"
	"sandbox/healthcheck"
	"sandbox/loop"
	"sandbox/part"
)

// frontend is what one forwarding rule serves.
type frontend struct {
	rule         *googlecompute.ForwardingRule
	urlMap       *googlecompute.UrlMap
	tls          bool
	certificates []*tls.Certificate
	minVersion   uint16
}

// table is the load balancer's configuration, made anew for each version of the Compute resources.
type table struct {
	version   uint64
	frontends map[string]*frontend // by address:port
	services  map[string]*googlecompute.BackendService
	endpoints map[string][]compute.Endpoint // by service
}

// Balancer serves all forwarding rules of a store.
type Balancer struct {
	store  *compute.Store
	health func(service string, e compute.Endpoint) string
	log    *slog.Logger

	mu           sync.Mutex
	table        *table
	tracker      tracker
	servers      map[string]*http.Server
	certificates map[[32]byte]*tls.Certificate
	state        part.State
	resume       chan struct{} // closed unless paused
}

// Start serves until ctx ends.
func Start(ctx context.Context, store *compute.Store, health *healthcheck.Prober, log *slog.Logger) *Balancer {
	return start(ctx, store, health.State, log)
}

func start(ctx context.Context, store *compute.Store, health func(string, compute.Endpoint) string, log *slog.Logger) *Balancer {
	b := &Balancer{
		store: store, health: health, log: log, table: &table{}, tracker: tracker{places: map[place]*traffic{}},
		servers: map[string]*http.Server{}, certificates: map[[32]byte]*tls.Certificate{}, state: part.Running, resume: make(chan struct{}),
	}
	close(b.resume)
	changed := store.Changed()
	go func() {
		for {
			select {
			case <-ctx.Done():
				b.mu.Lock()
				b.state = part.Killed
				b.listen()
				b.mu.Unlock()
				return
			case <-changed:
				b.current()
			}
		}
	}()
	return b
}

// SetState pauses (connections are taken, nothing is answered) or kills (ports and connections are closed)
// the data plane, or runs it again.
func (b *Balancer) SetState(state part.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == part.Paused && state != part.Paused {
		close(b.resume)
	}
	if b.state != part.Paused && state == part.Paused {
		b.resume = make(chan struct{})
	}
	b.state = state
	b.listen()
	return nil
}

// Address is one address that the load balancer serves.
type Address struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
	// Protocol is HTTP or HTTPS.
	Protocol       string `json:"protocol"`
	ForwardingRule string `json:"forwardingRule"`
}

// Addresses are served now.
func (b *Balancer) Addresses() []Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Address{}
	for _, key := range slices.Sorted(maps.Keys(b.servers)) {
		f := b.table.frontends[key]
		if f == nil {
			continue
		}
		host, port, _ := net.SplitHostPort(key)
		number, _ := strconv.Atoi(port)
		protocol := "HTTP"
		if f.tls {
			protocol = "HTTPS"
		}
		out = append(out, Address{Address: host, Port: number, Protocol: protocol, ForwardingRule: f.rule.Name})
	}
	return out
}

// current is the configuration of this moment. A request that asks for it after a change was answered sees
// the change, so none starts on an endpoint that has left.
func (b *Balancer) current() *table {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.currentLocked()
}

func (b *Balancer) currentLocked() *table {
	snapshot, err := b.store.Snapshot()
	if err != nil {
		b.log.Error("the configuration stays as it is", "error", err.Error())
		return b.table
	}
	if snapshot.Version == b.table.version {
		return b.table
	}
	before := b.table
	b.table = b.compile(snapshot)
	wanted := map[place]bool{}
	for service, endpoints := range b.table.endpoints {
		for _, e := range endpoints {
			wanted[place{service, e}] = true
		}
	}
	timeout := func(service string) time.Duration {
		s := b.table.services[service]
		if s == nil {
			s = before.services[service]
		}
		if s == nil || s.ConnectionDraining == nil {
			return 0
		}
		return time.Duration(s.ConnectionDraining.DrainingTimeoutSec) * time.Second
	}
	b.tracker.keepOnly(wanted, timeout, func(p place) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tracker.cut(p)
	})
	b.listen()
	return b.table
}

func (b *Balancer) compile(n *compute.Snapshot) *table {
	t := &table{version: n.Version, frontends: map[string]*frontend{}, services: n.BackendServices, endpoints: map[string][]compute.Endpoint{}}
	for name, service := range n.BackendServices {
		t.endpoints[name] = n.Endpoints(service)
	}
	for _, rule := range n.ForwardingRules {
		port, _, _ := strings.Cut(rule.PortRange, "-")
		key := net.JoinHostPort(rule.IPAddress, port)
		target := compute.Name(rule.Target)
		switch {
		case strings.Contains(rule.Target, "/targetHttpsProxies/"):
			proxy := n.TargetHTTPSProxies[target]
			if proxy == nil {
				continue
			}
			f := &frontend{rule: rule, urlMap: n.URLMaps[compute.Name(proxy.UrlMap)], tls: true, minVersion: tls.VersionTLS10}
			for _, link := range proxy.SslCertificates {
				if c := b.certificate(n.SSLCertificates[compute.Name(link)]); c != nil {
					f.certificates = append(f.certificates, c)
				}
			}
			if policy := n.SSLPolicies[compute.Name(proxy.SslPolicy)]; policy != nil {
				if v, ok := minVersions[policy.MinTlsVersion]; ok {
					f.minVersion = v
				}
			}
			t.frontends[key] = f
		case strings.Contains(rule.Target, "/targetHttpProxies/"):
			if proxy := n.TargetHTTPProxies[target]; proxy != nil {
				t.frontends[key] = &frontend{rule: rule, urlMap: n.URLMaps[compute.Name(proxy.UrlMap)]}
			}
		}
	}
	return t
}

var minVersions = map[string]uint16{"TLS_1_1": tls.VersionTLS11, "TLS_1_2": tls.VersionTLS12, "TLS_1_3": tls.VersionTLS13}

// certificate gives the pair of an SslCertificate, nil while it has none.
func (b *Balancer) certificate(c *googlecompute.SslCertificate) *tls.Certificate {
	if c == nil || c.Certificate == "" || c.PrivateKey == "" {
		return nil
	}
	key := sha256.Sum256([]byte(c.Certificate + "\x00" + c.PrivateKey))
	if b.certificates[key] == nil {
		pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
		if err != nil {
			b.log.Error("unusable certificate", "name", c.Name, "error", err.Error())
			return nil
		}
		b.certificates[key] = &pair
	}
	return b.certificates[key]
}

// listen opens and closes ports as the table and the state say.
func (b *Balancer) listen() {
	for key, server := range b.servers {
		if b.state == part.Killed || b.table.frontends[key] == nil {
			_ = server.Close()
			delete(b.servers, key)
		}
	}
	if b.state == part.Killed {
		return
	}
	for key, f := range b.table.frontends {
		if b.servers[key] != nil {
			continue
		}
		listener, err := net.Listen("tcp", key)
		if err != nil {
			b.log.Error("listening", "forwardingRule", f.rule.Name, "address", key, "error", err.Error())
			continue
		}
		b.servers[key] = b.serve(listener, key, f.tls)
		b.log.Info("listening", "forwardingRule", f.rule.Name, "address", key)
	}
}

func (b *Balancer) serve(listener net.Listener, key string, withTLS bool) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(withTLS)
	server := &http.Server{
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100}, // Google's limit
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.handle(w, r, key) }),
		IdleTimeout: 610 * time.Second, // Google's fixed client keep-alive
		ErrorLog:    slog.NewLogLogger(b.log.Handler(), slog.LevelWarn),
	}
	if !withTLS {
		go func() { _ = server.Serve(listener) }()
		return server
	}
	server.TLSConfig = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := b.wait(h.Context()); err != nil {
			return nil, err
		}
		f := b.current().frontends[key]
		if f == nil || len(f.certificates) == 0 {
			return nil, fmt.Errorf("no certificate on %s", key)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{*chooseCertificate(f.certificates, h.ServerName)}, MinVersion: f.minVersion, NextProtos: []string{"h2", "http/1.1"},
		}, nil
	}}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	return server
}

// chooseCertificate takes the first that covers the SNI, else the first of all
// (cloud.google.com/load-balancing/docs/ssl-certificates, "certificate selection").
func chooseCertificate(list []*tls.Certificate, name string) *tls.Certificate {
	for _, c := range list {
		if name != "" && c.Leaf != nil && c.Leaf.VerifyHostname(name) == nil {
			return c
		}
	}
	return list[0]
}

// wait holds a caller while the part is paused.
func (b *Balancer) wait(ctx context.Context) error {
	b.mu.Lock()
	resume := b.resume
	b.mu.Unlock()
	select {
	case <-resume:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errorPage is the body that Google's front ends send with their own errors.
func errorPage(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>%d Server Error</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: Server Error</h1>
<h2>The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.</h2>
<h2></h2>
</body></html>
`, code)
}

// record is what the log says of a request. Details are those of Cloud Logging's statusDetails.
type record struct {
	begin           time.Time
	status          int
	service, target string
	details         string
	err             error
}

func (b *Balancer) handle(w http.ResponseWriter, r *http.Request, key string) {
	if b.wait(r.Context()) != nil {
		return
	}
	rec := &record{begin: time.Now()}
	defer func() {
		b.log.Info("request", "frontend", key, "protocol", r.Proto, "host", r.Host, "path", r.URL.Path, "status", rec.status, "statusDetails", rec.details,
			"backendService", rec.service, "endpoint", rec.target, "error", fmt.Sprint(rec.err), "took", time.Since(rec.begin).String())
	}()
	refuse := func(code int, details string) {
		rec.status, rec.details = code, details
		errorPage(w, code)
	}
	f := b.current().frontends[key]
	if f == nil || f.urlMap == nil {
		refuse(http.StatusBadGateway, "internal_error")
		return
	}
	if code := redirectOf(f.urlMap); code != 0 {
		rec.status, rec.details = code, "redirected"
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), code)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	choice, refusal := b.choose(compute.Name(route(f.urlMap, r.Host, r.URL.Path)), cancel)
	rec.service, rec.target = choice.service, choice.endpoint.Address
	if refusal != "" {
		refuse(choice.code, refusal)
		return
	}
	defer b.done(choice)
	if choice.timeout > 0 { // the bound of the whole request and response, streams included
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, choice.timeout, context.DeadlineExceeded)
		defer stop()
	}
	b.forward(w, r.WithContext(ctx), choice, rec)
}

// choice is the endpoint of one request.
type choice struct {
	place
	id        int64
	code      int // of a refusal
	protocol  string
	timeout   time.Duration
	transport *http.Transport
}

// choose picks a healthy endpoint and registers the request on it in one step.
func (b *Balancer) choose(service string, cancel context.CancelCauseFunc) (choice, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.currentLocked()
	c := choice{place: place{service: service}}
	s := t.services[service]
	if s == nil {
		c.code = http.StatusBadGateway
		return c, "internal_error"
	}
	all := t.endpoints[service]
	if len(all) == 0 {
		c.code = http.StatusServiceUnavailable
		return c, "failed_to_pick_backend"
	}
	healthy := slices.DeleteFunc(slices.Clone(all), func(e compute.Endpoint) bool { return b.health(service, e) != healthcheck.Healthy })
	if len(healthy) == 0 {
		c.code = http.StatusBadGateway
		return c, "failed_to_pick_backend"
	}
	c.endpoint, c.protocol = healthy[rand.IntN(len(healthy))], s.Protocol
	c.timeout = time.Duration(s.TimeoutSec) * time.Second
	c.transport, c.id = b.tracker.begin(c.place, s.Protocol, cancel)
	return c, ""
}

func (b *Balancer) done(c choice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tracker.done(c.place, c.id)
}

// forward proxies one request. FlushInterval stays zero: ReverseProxy then flushes streams at once and
// lets short bodies travel with their trailers, which gRPC clients need.
func (b *Balancer) forward(w http.ResponseWriter, r *http.Request, c choice, rec *record) {
	scheme := "http"
	if c.protocol == "HTTPS" || c.protocol == "HTTP2" {
		scheme = "https"
	}
	address := net.JoinHostPort(loop.Address(c.endpoint.Address), strconv.FormatInt(c.endpoint.Port, 10))
	rec.target = net.JoinHostPort(c.endpoint.Address, strconv.FormatInt(c.endpoint.Port, 10))
	proxy := &httputil.ReverseProxy{
		Transport: c.transport,
		ErrorLog:  slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelDebug), // rec carries the error
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = scheme, address, p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"] // Google appends
			p.SetXForwarded()
			p.Out.Header.Set("Via", "1.1 google")
		},
		ModifyResponse: func(response *http.Response) error {
			rec.status, rec.details = response.StatusCode, "response_sent_by_backend"
			response.Header.Set("Via", "1.1 google")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			rec.err, rec.status, rec.details = err, http.StatusBadGateway, "failed_to_connect_to_backend"
			switch context.Cause(r.Context()) {
			case context.DeadlineExceeded:
				rec.status, rec.details = http.StatusGatewayTimeout, "backend_timeout"
			case errDrained:
				rec.details = "backend_connection_closed_before_data_sent_to_client"
			}
			errorPage(w, rec.status)
		},
	}
	defer func() {
		// ReverseProxy aborts with this panic when a response breaks off after its headers; the server
		// then resets the stream, as Google does.
		if p := recover(); p != nil {
			rec.err, rec.details = context.Cause(r.Context()), "backend_connection_closed_after_partial_response_sent"
			if rec.err == context.DeadlineExceeded {
				rec.details = "backend_timeout"
			}
			panic(p)
		}
	}()
	proxy.ServeHTTP(w, r)
}
