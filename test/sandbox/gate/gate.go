// Package gate pauses or cuts off a part that runs inside this process by its network connections: a
// component whose connections stand still does nothing, as a process does after SIGSTOP.
package gate

import (
	"context"
	"errors"
	"net"
	"sync"

	"sandbox/part"
)

// Gate is in front of all connections of one part.
type Gate struct {
	mu     sync.Mutex
	state  part.State
	resume chan struct{} // closed unless paused
	conns  map[*conn]struct{}
}

// New makes an open gate.
func New() *Gate {
	g := &Gate{state: part.Running, resume: make(chan struct{}), conns: map[*conn]struct{}{}}
	close(g.resume)
	return g
}

// SetState lets traffic stand still (paused), refuses it (killed) or lets it through.
func (g *Gate) SetState(state part.State) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == part.Paused && state != part.Paused {
		close(g.resume)
	}
	if g.state != part.Paused && state == part.Paused {
		g.resume = make(chan struct{})
	}
	g.state = state
	if state == part.Killed {
		for c := range g.conns {
			_ = c.Conn.Close()
		}
	}
	return nil
}

var errKilled = errors.New("this part of the sandbox is killed")

// Dial is for http.Transport.DialContext and rest.Config.Dial.
func (g *Gate) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	var d net.Dialer
	inner, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, gate: g, closed: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == part.Killed {
		_ = inner.Close()
		return nil, errKilled
	}
	g.conns[c] = struct{}{}
	return c, nil
}

func (g *Gate) pass(ctx context.Context) error {
	g.mu.Lock()
	resume, state := g.resume, g.state
	g.mu.Unlock()
	if state == part.Killed {
		return errKilled
	}
	select {
	case <-resume:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type conn struct {
	net.Conn
	gate   *Gate
	once   sync.Once
	closed chan struct{}
}

func (c *conn) hold() {
	c.gate.mu.Lock()
	resume := c.gate.resume
	c.gate.mu.Unlock()
	select {
	case <-resume:
	case <-c.closed:
	}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.hold() // what arrives during a pause is delivered after it
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	c.hold()
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.gate.mu.Lock()
		delete(c.gate.conns, c)
		c.gate.mu.Unlock()
	})
	return c.Conn.Close()
}
