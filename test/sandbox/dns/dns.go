// Package dns is an authoritative DNS server, on UDP and TCP, whose records tests set while it runs.
package dns

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"sandbox/part"
)

// Records are all records of one name.
type Records struct {
	A    []string `json:"A,omitempty"`
	AAAA []string `json:"AAAA,omitempty"`
	// CNAME is a host name; a name with it has no other records.
	CNAME string `json:"CNAME,omitempty"`
	// CAA are records in zone file form, such as `0 issue "pki.goog"`.
	CAA []string `json:"CAA,omitempty"`
}

// ttl of every answer in seconds: short, since tests change records.
const ttl = 1

// Server answers for every name: with its records, else NXDOMAIN.
type Server struct {
	log  *slog.Logger
	port int

	mu      sync.RWMutex
	records map[string]Records // by lower-case name without the last dot
	state   part.State
	servers []*dns.Server
}

// Start serves on a free port of 127.0.0.1.
func Start(log *slog.Logger) (*Server, error) {
	s := &Server{log: log, records: map[string]Records{}}
	// A port that is free for UDP may be taken for TCP; another one is tried then.
	var err error
	for range 20 {
		if err = s.listen(); err == nil {
			s.state = part.Running
			return s, nil
		}
		s.port = 0
	}
	return nil, fmt.Errorf("starting the DNS server: %w", err)
}

// Address is host:port for both protocols.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *Server) listen() error {
	packets, err := net.ListenPacket("udp", s.Address())
	if err != nil {
		return err
	}
	s.port = packets.LocalAddr().(*net.UDPAddr).Port
	stream, err := net.Listen("tcp", s.Address())
	if err != nil {
		packets.Close()
		return err
	}
	s.servers = []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}}
	for _, server := range s.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
	}
	return nil
}

// SetState pauses (queries stay unanswered) or kills (the port is closed) the server, or runs it again.
func (s *Server) SetState(state part.State) error {
	s.mu.Lock()
	before := s.state
	s.state = state
	servers := s.servers
	s.mu.Unlock()
	if state == part.Killed && before != part.Killed {
		for _, server := range servers {
			if err := server.Shutdown(); err != nil {
				return fmt.Errorf("stopping the DNS server: %w", err)
			}
		}
	}
	if state != part.Killed && before == part.Killed {
		return s.listen()
	}
	return nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Set replaces all records of a name.
func (s *Server) Set(name string, r Records) error {
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return fmt.Errorf("%q is no domain name", name)
	}
	if r.CNAME != "" && len(r.A)+len(r.AAAA)+len(r.CAA) > 0 {
		return fmt.Errorf("%s: a name with a CNAME record has no other records", name)
	}
	if _, err := build(canonical(name), r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[canonical(name)] = r
	return nil
}

// Delete removes all records of a name.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, canonical(name))
}

// All are the records by name.
func (s *Server) All() map[string]Records {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.records)
}

// Lookup follows CNAME records and gives the addresses at their end; none when the server is not running.
func (s *Server) Lookup(name string) (v4, v6 []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state != part.Running {
		return nil, nil
	}
	for range 10 {
		r := s.records[canonical(name)]
		if r.CNAME == "" {
			return r.A, r.AAAA
		}
		name = r.CNAME
	}
	return nil, nil
}

// CAA gives the issue records that bind a name: its own, else those of the nearest parent with any (RFC 8659 §3).
func (s *Server) CAA(name string) (issuers []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name = canonical(name); name != ""; {
		for _, text := range s.records[name].CAA {
			if rr, err := caa(name, text); err == nil && rr.Tag == "issue" {
				issuers = append(issuers, strings.TrimSpace(strings.SplitN(rr.Value, ";", 2)[0]))
			}
		}
		if len(s.records[name].CAA) > 0 {
			return issuers
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil
}

func caa(name, text string) (*dns.CAA, error) {
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN CAA %s", dns.Fqdn(name), ttl, text))
	if err != nil {
		return nil, fmt.Errorf("%s: CAA record %q: %w", name, text, err)
	}
	record, ok := rr.(*dns.CAA)
	if !ok {
		return nil, fmt.Errorf("%s: CAA record %q is empty", name, text)
	}
	return record, nil
}

func build(name string, r Records) ([]dns.RR, error) {
	header := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
	}
	var out []dns.RR
	for _, text := range r.A {
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is4() {
			return nil, fmt.Errorf("%s: %q is no IPv4 address", name, text)
		}
		out = append(out, &dns.A{Hdr: header(dns.TypeA), A: ip.AsSlice()})
	}
	for _, text := range r.AAAA {
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is6() {
			return nil, fmt.Errorf("%s: %q is no IPv6 address", name, text)
		}
		out = append(out, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: ip.AsSlice()})
	}
	if r.CNAME != "" {
		if _, ok := dns.IsDomainName(r.CNAME); !ok {
			return nil, fmt.Errorf("%s: CNAME %q is no domain name", name, r.CNAME)
		}
		out = append(out, &dns.CNAME{Hdr: header(dns.TypeCNAME), Target: dns.Fqdn(r.CNAME)})
	}
	for _, text := range r.CAA {
		rr, err := caa(name, text)
		if err != nil {
			return nil, err
		}
		out = append(out, rr)
	}
	return out, nil
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state == part.Paused || len(q.Question) != 1 {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	question := q.Question[0]
	name, known := canonical(question.Name), false
	for range 10 {
		r, ok := s.records[name]
		if !ok {
			break
		}
		known = true
		all, _ := build(name, r) // checked when set
		for _, rr := range all {
			if kind := rr.Header().Rrtype; kind == question.Qtype || kind == dns.TypeCNAME || question.Qtype == dns.TypeANY {
				m.Answer = append(m.Answer, rr)
			}
		}
		if r.CNAME == "" || question.Qtype == dns.TypeCNAME {
			break
		}
		name = canonical(r.CNAME)
	}
	if len(m.Answer) == 0 {
		if !known && !s.hasChild(name) {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
			Ns:  "ns.sandbox.", Mbox: "hostmaster.sandbox.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
		}}
	}
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); !tcp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	if err := w.WriteMsg(m); err != nil {
		s.log.Error("answering a query", "name", question.Name, "error", err.Error())
	}
}

// hasChild tells an empty non-terminal, which exists without records, from a name that does not exist.
func (s *Server) hasChild(name string) bool {
	for other := range s.records {
		if strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}
