// Package control is the endpoint by which tests and demos steer a running sandbox.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sandbox/clock"
	"sandbox/compute"
	"sandbox/credentials"
	"sandbox/dns"
	"sandbox/loadbalancer"
	"sandbox/managedcerts"
	"sandbox/part"
)

// Endpoint steers the parts it names. It serves before all of them exist; a call to a part that does not yet
// is refused.
type Endpoint struct {
	DNS     *dns.Server
	Compute *compute.Store
	Clock   *clock.Clock
	Tokens  *credentials.Tokens

	ready atomic.Pointer[Cluster]
}

// Cluster is what exists once the sandbox is ready.
type Cluster struct {
	// Document is the answer to GET /.
	Document     any
	Parts        map[string]part.Part
	Issuer       *managedcerts.Issuer
	LoadBalancer *loadbalancer.Balancer
	Kube         kubernetes.Interface
}

// SetReady completes the endpoint.
func (e *Endpoint) SetReady(c *Cluster) { e.ready.Store(c) }

var errNotReady = errors.New("the sandbox is not ready yet")

// Handler routes the calls.
func (e *Endpoint) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			v, err := answer(r)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				v = map[string]string{"error": err.Error()}
			}
			_ = json.NewEncoder(w).Encode(v)
		})
	}
	mux.Handle("POST /tokenreview", e.Tokens)
	handle("POST /token", func(*http.Request) (any, error) {
		token, expires := e.Tokens.Issue()
		return map[string]string{"token": token, "expirationTimestamp": expires.UTC().Format(time.RFC3339)}, nil
	})
	handle("GET /{$}", e.withCluster(func(c *Cluster, _ *http.Request) (any, error) { return c.Document, nil }))
	handle("GET /dns", func(*http.Request) (any, error) { return e.DNS.All(), nil })
	handle("PUT /dns/{name}", func(r *http.Request) (any, error) {
		records, err := read[dns.Records](r)
		if err != nil {
			return nil, err
		}
		return done(e.DNS.Set(r.PathValue("name"), records))
	})
	handle("DELETE /dns/{name}", func(r *http.Request) (any, error) {
		e.DNS.Delete(r.PathValue("name"))
		return done(nil)
	})
	handle("PUT /certificates/{domain}", e.withCluster(func(c *Cluster, r *http.Request) (any, error) {
		body, err := read[struct {
			Outcome managedcerts.Outcome `json:"outcome"`
		}](r)
		if err != nil {
			return nil, err
		}
		return done(c.Issuer.SetOutcome(r.PathValue("domain"), body.Outcome))
	}))
	handle("PUT /parts/{part}", e.withCluster(setPart))
	handle("PUT /quota/{collection}", func(r *http.Request) (any, error) {
		body, err := read[struct {
			Limit int `json:"limit"`
		}](r)
		if err != nil {
			return nil, err
		}
		if body.Limit < 0 {
			return nil, fmt.Errorf("the limit %d is negative", body.Limit)
		}
		return e.setQuota(r.PathValue("collection"), body.Limit)
	})
	handle("DELETE /quota/{collection}", func(r *http.Request) (any, error) { return e.setQuota(r.PathValue("collection"), -1) })
	handle("PUT /occupied/{address}", func(r *http.Request) (any, error) {
		body, err := read[struct {
			By string `json:"by"`
		}](r)
		if err != nil {
			return nil, err
		}
		if body.By == "" {
			return nil, errors.New("by is empty")
		}
		e.Compute.Occupy(r.PathValue("address"), body.By)
		return done(nil)
	})
	handle("DELETE /occupied/{address}", func(r *http.Request) (any, error) {
		e.Compute.Occupy(r.PathValue("address"), "")
		return done(nil)
	})
	handle("PUT /speed", func(r *http.Request) (any, error) {
		body, err := read[struct {
			Factor float64 `json:"factor"`
		}](r)
		if err != nil {
			return nil, err
		}
		return done(e.Clock.SetFactor(body.Factor))
	})
	handle("PUT /token", func(r *http.Request) (any, error) {
		body, err := read[struct {
			LifetimeSeconds float64 `json:"lifetimeSeconds"`
		}](r)
		if err != nil {
			return nil, err
		}
		return done(e.Tokens.SetLifetime(time.Duration(body.LifetimeSeconds * float64(time.Second))))
	})
	handle("GET /token", func(*http.Request) (any, error) { return map[string]int{"issued": e.Tokens.Issued()}, nil })
	handle("GET /compute", func(*http.Request) (any, error) { return e.Compute.Objects(), nil })
	handle("GET /compute/calls", func(*http.Request) (any, error) { return e.Compute.Calls(), nil })
	handle("GET /load-balancers", e.withCluster(loadBalancers))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "no such call: " + r.Method + " " + r.URL.Path})
	})
	return mux
}

func (e *Endpoint) withCluster(answer func(c *Cluster, r *http.Request) (any, error)) func(r *http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		c := e.ready.Load()
		if c == nil {
			return nil, errNotReady
		}
		return answer(c, r)
	}
}

func (e *Endpoint) setQuota(collection string, limit int) (any, error) {
	if !compute.KnownQuota(collection) {
		return nil, fmt.Errorf("there is no quota for %q", collection)
	}
	e.Compute.SetQuota(collection, limit)
	return done(nil)
}

func done(err error) (any, error) { return struct{}{}, err }

func read[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("reading the body: %w", err)
	}
	return v, nil
}

func setPart(c *Cluster, r *http.Request) (any, error) {
	name := r.PathValue("part")
	p := c.Parts[name]
	if p == nil {
		var names []string
		for n := range c.Parts {
			names = append(names, n)
		}
		return nil, fmt.Errorf("part %q is none of %s", name, strings.Join(names, ", "))
	}
	body, err := read[struct {
		State string `json:"state"`
	}](r)
	if err != nil {
		return nil, err
	}
	state, err := part.Parse(body.State)
	if err != nil {
		return nil, err
	}
	return done(p.SetState(state))
}

// loadBalancer is one address of either layer.
type loadBalancer struct {
	Layer     int      `json:"layer"`
	Address   string   `json:"address"`
	Ports     []int    `json:"ports"`
	Protocols []string `json:"protocols"`
	// Source is the forwarding rule, or the Service as namespace/name.
	Source string `json:"source"`
}

func loadBalancers(c *Cluster, r *http.Request) (any, error) {
	out := []loadBalancer{}
	for _, a := range c.LoadBalancer.Addresses() {
		out = append(out, loadBalancer{Layer: 7, Address: a.Address, Ports: []int{a.Port}, Protocols: []string{a.Protocol}, Source: a.ForwardingRule})
	}
	services, err := c.Kube.CoreV1().Services("").List(r.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	for _, s := range services.Items {
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			lb := loadBalancer{Layer: 4, Address: ingress.IP, Source: s.Namespace + "/" + s.Name}
			for _, p := range s.Spec.Ports {
				lb.Ports, lb.Protocols = append(lb.Ports, int(p.Port)), append(lb.Protocols, string(p.Protocol))
			}
			out = append(out, lb)
		}
	}
	return out, nil
}
