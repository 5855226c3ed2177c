package loadbalancer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"sandbox/compute"
)

// errDrained ends a request whose endpoint left its group longer ago than the draining time-out.
var errDrained = errors.New("connection draining is over")

// place is one endpoint as used by one backend service.
type place struct {
	service  string
	endpoint compute.Endpoint
}

// traffic is what goes to one place: its connections and the requests under way.
type traffic struct {
	transport *http.Transport
	requests  map[int64]context.CancelCauseFunc
	drain     *time.Timer // set while the place is no longer in its group
}

// tracker counts requests by place and drains places that leave. The balancer's mutex guards it.
type tracker struct {
	places map[place]*traffic
	next   int64
}

func newTransport(protocol string) *http.Transport {
	p := new(http.Protocols)
	switch protocol {
	case "HTTP2":
		p.SetHTTP2(true)
	case "H2C":
		p.SetUnencryptedHTTP2(true)
	default:
		p.SetHTTP1(true)
	}
	return &http.Transport{
		Protocols: p, DisableCompression: true,
		// Google's load balancers do not verify the certificates of backends.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		IdleConnTimeout: 600 * time.Second, // Google's fixed backend keep-alive
	}
}

// begin registers a request; done must be called at its end.
func (t *tracker) begin(p place, protocol string, cancel context.CancelCauseFunc) (*http.Transport, int64) {
	own := t.places[p]
	if own == nil {
		own = &traffic{transport: newTransport(protocol), requests: map[int64]context.CancelCauseFunc{}}
		t.places[p] = own
	}
	t.next++
	own.requests[t.next] = cancel
	return own.transport, t.next
}

func (t *tracker) done(p place, id int64) {
	own := t.places[p]
	if own == nil {
		return
	}
	delete(own.requests, id)
	if own.drain != nil && len(own.requests) == 0 {
		t.drop(p)
	}
}

func (t *tracker) drop(p place) {
	own := t.places[p]
	if own == nil {
		return
	}
	if own.drain != nil {
		own.drain.Stop()
	}
	delete(t.places, p)
	own.transport.CloseIdleConnections()
}

// keepOnly starts to drain every place that is not wanted; over runs when its time is up.
func (t *tracker) keepOnly(wanted map[place]bool, timeout func(service string) time.Duration, over func(place)) {
	for p, own := range t.places {
		switch {
		case wanted[p]:
			if own.drain != nil { // it came back
				own.drain.Stop()
				own.drain = nil
			}
		case own.drain == nil:
			if len(own.requests) == 0 {
				t.drop(p)
				continue
			}
			own.drain = time.AfterFunc(timeout(p.service), func() { over(p) })
		}
	}
}

// cut ends all requests of a place that is still draining.
func (t *tracker) cut(p place) {
	own := t.places[p]
	if own == nil || own.drain == nil {
		return
	}
	for _, cancel := range own.requests {
		cancel(errDrained)
	}
	t.drop(p)
}
