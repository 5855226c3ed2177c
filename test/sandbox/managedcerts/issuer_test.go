package managedcerts

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"

	"sandbox/authority"
	"sandbox/clock"
	"sandbox/compute"
)

const domain = "milvus.example.com"

type zone struct {
	v4, v6, caa []string
}

func (z *zone) Lookup(string) (v4, v6 []string) { return z.v4, z.v6 }
func (z *zone) CAA(string) []string             { return z.caa }

// fixture is an issuer with one managed certificate behind 127.20.0.1.
type fixture struct {
	t      *testing.T
	zone   *zone
	issuer *Issuer
	store  *compute.Store
	ca     *authority.Authority
	now    time.Time
}

func newFixture(t *testing.T, attached bool) *fixture {
	ca, err := authority.New(t.TempDir(), "public-ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := clock.New(60)
	if err != nil {
		t.Fatal(err)
	}
	store := compute.NewStore(compute.Config{Project: "p", Region: "r", Zones: []string{"z"}})
	do := func(path string, body compute.Object) {
		if _, failure := store.Do("POST", "v1", path, body, ""); failure != nil {
			t.Fatal(failure)
		}
	}
	do("global/sslCertificates", compute.Object{"name": "mcrt", "type": "MANAGED", "managed": compute.Object{"domains": []any{domain}}})
	if attached {
		do("global/backendServices", compute.Object{"name": "b"})
		do("global/urlMaps", compute.Object{"name": "m", "defaultService": "projects/p/global/backendServices/b"})
		do("global/targetHttpsProxies", compute.Object{"name": "x", "urlMap": "projects/p/global/urlMaps/m", "sslCertificates": []any{"projects/p/global/sslCertificates/mcrt"}})
		do("global/forwardingRules", compute.Object{"name": "r", "IPAddress": "127.20.0.1", "portRange": "443", "target": "projects/p/global/targetHttpsProxies/x"})
	}
	z := &zone{}
	return &fixture{t: t, zone: z, store: store, ca: ca, now: time.Now(), issuer: NewIssuer(store, z, c, ca, slog.New(slog.DiscardHandler))}
}

// after lets time pass in small steps and gives the certificate.
func (f *fixture) after(d time.Duration) compute.Object {
	for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(100 * time.Millisecond) {
		f.issuer.Step(f.now)
	}
	return f.store.Objects()["global/sslCertificates/mcrt"]
}

func (f *fixture) expect(o compute.Object, status, ofDomain string) {
	f.t.Helper()
	m := o["managed"].(compute.Object)
	if m["status"] != status || m["domainStatus"].(compute.Object)[domain] != ofDomain {
		f.t.Errorf("got %v %v, want %s %s", m["status"], m["domainStatus"], status, ofDomain)
	}
}

func TestIssuedOnceVisible(t *testing.T) {
	f := newFixture(t, true)
	f.expect(f.after(time.Second), "PROVISIONING", "PROVISIONING")
	f.expect(f.after(4*time.Second), "PROVISIONING", "FAILED_NOT_VISIBLE")
	f.zone.v4 = []string{"127.20.0.1"}
	f.expect(f.after(4*time.Second), "PROVISIONING", "PROVISIONING")
	o := f.after(1200 * time.Millisecond)
	f.expect(o, "ACTIVE", "ACTIVE")
	if o["expireTime"] == nil || o["certificate"] != nil {
		t.Errorf("right after Active: expireTime %v, certificate %v", o["expireTime"], o["certificate"])
	}
	o = f.after(2 * time.Second)
	text, _ := o["certificate"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no certificate after propagation")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.ca.Certificate())
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: domain, Roots: roots}); err != nil {
		t.Error(err)
	}
}

func TestNotVisible(t *testing.T) {
	for name, z := range map[string]*zone{
		"nothing":     {},
		"elsewhere":   {v4: []string{"127.20.0.9"}},
		"one of two":  {v4: []string{"127.20.0.1", "127.20.0.9"}},
		"a stray v6":  {v4: []string{"127.20.0.1"}, v6: []string{"2001:db8::1"}},
		"wrong proxy": nil,
	} {
		f := newFixture(t, z != nil)
		if z != nil {
			*f.zone = *z
		} else {
			f.zone.v4 = []string{"127.20.0.1"} // right, but no proxy carries the certificate
		}
		t.Log(name)
		f.expect(f.after(20*time.Second), "PROVISIONING", "FAILED_NOT_VISIBLE")
	}
}

func TestCAA(t *testing.T) {
	for issuer, state := range map[string]string{"pki.goog": "ACTIVE", "letsencrypt.org": "ACTIVE", "ca.example.org": "FAILED_CAA_FORBIDDEN"} {
		f := newFixture(t, true)
		*f.zone = zone{v4: []string{"127.20.0.1"}, caa: []string{issuer}}
		status := "PROVISIONING"
		if state == "ACTIVE" {
			status = state
		}
		f.expect(f.after(8*time.Second), status, state)
	}
}

func TestEveryOutcome(t *testing.T) {
	for outcome, want := range map[Outcome][2]string{
		Provisioning: {"PROVISIONING", "PROVISIONING"}, Active: {"ACTIVE", "ACTIVE"}, FailedNotVisible: {"PROVISIONING", "FAILED_NOT_VISIBLE"},
		FailedCaaChecking: {"PROVISIONING", "FAILED_CAA_CHECKING"}, FailedCaaForbidden: {"PROVISIONING", "FAILED_CAA_FORBIDDEN"},
		FailedRateLimited: {"PROVISIONING", "FAILED_RATE_LIMITED"}, ProvisioningFailed: {"PROVISIONING_FAILED", "FAILED_NOT_VISIBLE"},
		ProvisioningFailedPermanently: {"PROVISIONING_FAILED_PERMANENTLY", "FAILED_NOT_VISIBLE"},
	} {
		f := newFixture(t, true)
		if err := f.issuer.SetOutcome(domain, outcome); err != nil {
			t.Fatal(err)
		}
		f.expect(f.after(2*time.Second), want[0], want[1])
		// back to what the world looks like: only a permanent failure stays
		f.zone.v4 = []string{"127.20.0.1"}
		if err := f.issuer.SetOutcome(domain, Auto); err != nil {
			t.Fatal(err)
		}
		if o := f.after(8 * time.Second); outcome == ProvisioningFailedPermanently {
			f.expect(o, want[0], want[1])
		} else {
			f.expect(o, "ACTIVE", "ACTIVE")
		}
	}
	f := newFixture(t, true)
	if err := f.issuer.SetOutcome(domain, "Wrong"); err == nil {
		t.Error("an unknown outcome was taken")
	}
}

func TestFailedRenewalKeepsTheOldCertificate(t *testing.T) {
	f := newFixture(t, true)
	f.zone.v4 = []string{"127.20.0.1"}
	before := f.after(9 * time.Second)["certificate"]
	if err := f.issuer.SetOutcome(domain, RenewalFailed); err != nil {
		t.Fatal(err)
	}
	o := f.after(time.Second)
	f.expect(o, "RENEWAL_FAILED", "FAILED_NOT_VISIBLE")
	if before == nil || o["certificate"] != before {
		t.Error("the old certificate is not served any more")
	}
}
