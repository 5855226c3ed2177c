package dns

import (
	"log/slog"
	"testing"
	"time"

	"github.com/miekg/dns"

	"sandbox/part"
)

func ask(t *testing.T, s *Server, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), kind)
	c := &dns.Client{Net: network, Timeout: time.Second}
	m, _, err := c.Exchange(q, s.Address())
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, dns.TypeToString[kind], network, err)
	}
	return m
}

func start(t *testing.T) *Server {
	s, err := Start(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.SetState(part.Killed) })
	return s
}

func TestAnswers(t *testing.T) {
	s := start(t)
	for name, r := range map[string]Records{
		"milvus.example.com": {A: []string{"127.20.0.1"}, AAAA: []string{"2001:db8::1"}, CAA: []string{`0 issue "pki.goog"`}},
		"www.example.com":    {CNAME: "milvus.example.com"},
	} {
		if err := s.Set(name, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		if m := ask(t, s, network, "Milvus.Example.com", dns.TypeA); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "127.20.0.1" {
			t.Errorf("A over %s: %v", network, m)
		}
		if m := ask(t, s, network, "www.example.com", dns.TypeAAAA); len(m.Answer) != 2 {
			t.Errorf("AAAA through CNAME over %s: %v", network, m)
		}
		if m := ask(t, s, network, "milvus.example.com", dns.TypeCAA); len(m.Answer) != 1 || m.Answer[0].(*dns.CAA).Value != "pki.goog" {
			t.Errorf("CAA over %s: %v", network, m)
		}
		if m := ask(t, s, network, "nothing.example.com", dns.TypeA); m.Rcode != dns.RcodeNameError {
			t.Errorf("unknown name over %s: %v", network, m)
		}
		if m := ask(t, s, network, "example.com", dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 {
			t.Errorf("name with only children over %s: %v", network, m)
		}
	}
}

func TestRefusesWrongRecords(t *testing.T) {
	s := start(t)
	for _, r := range []Records{{A: []string{"::1"}}, {AAAA: []string{"1.2.3.4"}}, {CAA: []string{"issue"}}, {CNAME: "a.b", A: []string{"1.2.3.4"}}} {
		if err := s.Set("x.example.com", r); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}

func TestCAABindsChildren(t *testing.T) {
	s := start(t)
	if err := s.Set("example.com", Records{CAA: []string{`0 issue "letsencrypt.org; validationmethods=dns-01"`, `0 iodef "mailto:x@example.com"`}}); err != nil {
		t.Fatal(err)
	}
	if got := s.CAA("a.b.example.com"); len(got) != 1 || got[0] != "letsencrypt.org" {
		t.Errorf("got %q", got)
	}
	if got := s.CAA("example.org"); got != nil {
		t.Errorf("got %q for a domain without records", got)
	}
}

func TestPausedKilledRunning(t *testing.T) {
	s := start(t)
	q := new(dns.Msg)
	q.SetQuestion("a.example.com.", dns.TypeA)
	c := &dns.Client{Timeout: 200 * time.Millisecond}
	for _, state := range []part.State{part.Paused, part.Killed} {
		if err := s.SetState(state); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Exchange(q, s.Address()); err == nil {
			t.Errorf("answered while %s", state)
		}
	}
	if err := s.SetState(part.Running); err != nil {
		t.Fatal(err)
	}
	ask(t, s, "tcp", "a.example.com", dns.TypeA)
}
