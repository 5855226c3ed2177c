package compute

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	googlecompute "google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// serve gives Google's own client of a store behind its API.
func serve(t *testing.T) (*Store, *googlecompute.Service) {
	n := 0
	store := NewStore(Config{Project: "p", Region: "r", Zones: []string{"z"}, NextAddress: func() string { n++; return fmt.Sprintf("127.20.0.%d", n) }})
	server := httptest.NewServer(&API{Store: store, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(server.Close)
	client, err := googlecompute.NewService(t.Context(), option.WithEndpoint(server.URL+"/compute/v1/"), option.WithHTTPClient(http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	return store, client
}

// refused checks that err is an answer with the code and a message that contains the text.
func refused(t *testing.T, err error, code int, text string) {
	t.Helper()
	e, ok := err.(*googleapi.Error)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %v, want a refusal %d with %q", err, code, text)
	}
}

func failed(t *testing.T, o *googlecompute.Operation, err error, status int64, code, text string) {
	t.Helper()
	if err != nil || o.Error == nil || o.HttpErrorStatusCode != status || o.Error.Errors[0].Code != code || !strings.Contains(o.Error.Errors[0].Message, text) {
		t.Errorf("got %+v, %v; want an operation that failed with %d %s %q", o, err, status, code, text)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestNamesAndReferences(t *testing.T) {
	_, c := serve(t)
	op := must[*googlecompute.Operation](t)
	_, err := c.UrlMaps.Get("p", "none").Do()
	refused(t, err, 404, "The resource 'projects/p/global/urlMaps/none' was not found")
	_, err = c.BackendServices.Insert("p", &googlecompute.BackendService{Name: "Wrong_Name"}).Do()
	refused(t, err, 400, "Invalid value for field 'resource.name': 'Wrong_Name'")
	o := op(c.BackendServices.Insert("p", &googlecompute.BackendService{Name: "b"}).Do())
	if got := op(c.GlobalOperations.Get("p", o.Name).Do()); got.Status != "DONE" || got.Error != nil {
		t.Errorf("operation %+v", got)
	}
	_, err = c.BackendServices.Insert("p", &googlecompute.BackendService{Name: "b"}).Do()
	refused(t, err, 409, "The resource 'projects/p/global/backendServices/b' already exists")
	_, err = c.UrlMaps.Insert("p", &googlecompute.UrlMap{Name: "m", DefaultService: "projects/p/global/backendServices/none"}).Do()
	refused(t, err, 404, "backendServices/none' was not found")
	op(c.UrlMaps.Insert("p", &googlecompute.UrlMap{Name: "m", DefaultService: "projects/p/global/backendServices/b"}).Do())
	_, err = c.BackendServices.Delete("p", "b").Do()
	refused(t, err, 400, "The backend_service resource 'projects/p/global/backendServices/b' is already being used by 'projects/p/global/urlMaps/m'")
	m := must[*googlecompute.UrlMap](t)(c.UrlMaps.Get("p", "m").Do())
	op(c.UrlMaps.Update("p", "m", m).Do())
	_, err = c.UrlMaps.Update("p", "m", m).Do()
	refused(t, err, 412, "Invalid fingerprint.")
	if b := must[*googlecompute.BackendService](t)(c.BackendServices.Get("p", "b").Do()); b.TimeoutSec != 30 {
		t.Errorf("default time-out %d", b.TimeoutSec)
	}
	op(c.TargetHttpsProxies.Insert("p", &googlecompute.TargetHttpsProxy{Name: "x", UrlMap: "projects/p/global/urlMaps/m"}).Do())
	_, err = c.TargetHttpsProxies.SetSslPolicy("p", "x", &googlecompute.SslPolicyReference{SslPolicy: "projects/p/global/sslPolicies/none"}).Do()
	refused(t, err, 404, "sslPolicies/none' was not found")
}

func TestQuota(t *testing.T) {
	s, c := serve(t)
	s.SetQuota("addresses", 1)
	must[*googlecompute.Operation](t)(c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "a"}).Do())
	o, err := c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "b"}).Do()
	failed(t, o, err, 403, "QUOTA_EXCEEDED", "Quota 'STATIC_ADDRESSES' exceeded.  Limit: 1.0 globally.")
	s.SetQuota("addresses", -1)
	if o, err := c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "b"}).Do(); err != nil || o.Error != nil {
		t.Errorf("without quota: %+v %v", o, err)
	}
}

func TestAddressesInUse(t *testing.T) {
	s, c := serve(t)
	op := must[*googlecompute.Operation](t)
	op(c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "a"}).Do())
	a := must[*googlecompute.Address](t)(c.GlobalAddresses.Get("p", "a").Do())
	if a.Status != "RESERVED" || a.Address != "127.20.0.1" {
		t.Errorf("%+v", a)
	}
	rule := func(name, ports string) (*googlecompute.Operation, error) {
		return c.GlobalForwardingRules.Insert("p", &googlecompute.ForwardingRule{Name: name, IPAddress: a.Address, PortRange: ports}).Do()
	}
	op(rule("https", "443"))
	op(rule("http", "80-80"))
	_, err := rule("other", "443-443")
	refused(t, err, 400, "Invalid value for field 'resource.IPAddress': '127.20.0.1'. Specified IP address is in-use and would result in a conflict.")
	if a := must[*googlecompute.Address](t)(c.GlobalAddresses.Get("p", "a").Do()); a.Status != "IN_USE" || len(a.Users) != 2 {
		t.Errorf("%+v", a)
	}
	_, err = c.GlobalAddresses.Delete("p", "a").Do()
	refused(t, err, 400, "The address resource 'projects/p/global/addresses/a' is already being used by 'projects/p/global/forwardingRules/http'")
	o, err := c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "again", Address: a.Address}).Do()
	failed(t, o, err, 409, "IP_IN_USE_BY_ANOTHER_RESOURCE", "IP '127.20.0.1' is already being used by another resource.")
	// the address of a forwarding rule alone may be promoted
	op(c.GlobalForwardingRules.Insert("p", &googlecompute.ForwardingRule{Name: "ephemeral", PortRange: "443"}).Do())
	e := must[*googlecompute.ForwardingRule](t)(c.GlobalForwardingRules.Get("p", "ephemeral").Do())
	if o := op(c.GlobalAddresses.Insert("p", &googlecompute.Address{Name: "promoted", Address: e.IPAddress}).Do()); o.Error != nil {
		t.Errorf("promotion: %+v", o.Error)
	}
	s.Occupy("127.60.0.1", "projects/p/zones/z/instances/vm")
	o, err = c.GlobalForwardingRules.Insert("p", &googlecompute.ForwardingRule{Name: "foreign", IPAddress: "127.60.0.1", PortRange: "443"}).Do()
	failed(t, o, err, 409, "IP_IN_USE_BY_ANOTHER_RESOURCE", "IP '127.60.0.1'")
	if _, err := c.GlobalForwardingRules.Get("p", "foreign").Do(); err == nil {
		t.Error("a refused rule exists")
	}
}

func certificate(t *testing.T, public, private any) (cert, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

func TestCertificates(t *testing.T) {
	store, c := serve(t)
	ec := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
	}
	rsaKey := func(bits int) *rsa.PrivateKey { return must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, bits)) }
	good, other := ec(elliptic.P256()), ec(elliptic.P256())
	r2, r3, p384 := rsaKey(2048), rsaKey(3072), ec(elliptic.P384())
	goodCert, goodKey := certificate(t, good.Public(), good)
	_, otherKey := certificate(t, other.Public(), other)
	rsaCert, rsaPEM := certificate(t, r2.Public(), r2)
	r3Cert, r3Key := certificate(t, r3.Public(), r3)
	pCert, pKey := certificate(t, p384.Public(), p384)
	for name, c2 := range map[string]struct{ cert, key, text string }{
		"p256": {goodCert, goodKey, ""}, "rsa2048": {rsaCert, rsaPEM, ""}, "chain": {goodCert + rsaCert, goodKey, ""},
		"empty": {"", goodKey, "Invalid value for field 'resource.certificate': ''. A certificate must be specified for SSL certificate creation."},
		"text":  {"hello", goodKey, "The SSL certificate could not be parsed."}, "key": {goodCert, "hello", "The SSL key could not be parsed."},
		"mismatch": {goodCert, otherKey, "do not match"}, "rsa3072": {r3Cert, r3Key, "RSA-3072"}, "p384": {pCert, pKey, "ECDSA P-384"},
		"long": {strings.Repeat(goodCert, 6), goodKey, "too long"},
	} {
		_, err := c.SslCertificates.Insert("p", &googlecompute.SslCertificate{Name: name, Certificate: c2.cert, PrivateKey: c2.key}).Do()
		if c2.text != "" {
			refused(t, err, 400, c2.text)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := must[*googlecompute.SslCertificate](t)(c.SslCertificates.Get("p", "p256").Do())
	if got.PrivateKey != "" || got.Certificate != goodCert || len(got.SubjectAlternativeNames) != 1 {
		t.Errorf("%+v", got)
	}
	everything, err := json.Marshal(store.Objects())
	if err != nil || strings.Contains(string(everything), "PRIVATE KEY") {
		t.Errorf("a dump shows private keys (%v)", err)
	}
	if l := must[*googlecompute.SslCertificateList](t)(c.SslCertificates.List("p").Do()); len(l.Items) != 3 || l.Items[0].PrivateKey != "" {
		t.Errorf("list of %d", len(l.Items))
	}
	n := must[*Snapshot](t)(store.Snapshot())
	if n.SSLCertificates["p256"].PrivateKey != goodKey {
		t.Error("the load balancer does not get the key")
	}
	_, err = c.SslCertificates.Insert("p", &googlecompute.SslCertificate{Name: "managed", Type: "MANAGED", Managed: &googlecompute.SslCertificateManagedSslCertificate{}}).Do()
	refused(t, err, 400, "At least one domain")
}

func TestEndpoints(t *testing.T) {
	s, c := serve(t)
	op := must[*googlecompute.Operation](t)
	op(c.NetworkEndpointGroups.Insert("p", "z", &googlecompute.NetworkEndpointGroup{Name: "neg"}).Do())
	op(c.BackendServices.Insert("p", &googlecompute.BackendService{Name: "b", Backends: []*googlecompute.Backend{{Group: "projects/p/zones/z/networkEndpointGroups/neg"}}}).Do())
	endpoint := []*googlecompute.NetworkEndpoint{{IpAddress: "10.8.0.2", Port: 19530}}
	for range 2 {
		op(c.NetworkEndpointGroups.AttachNetworkEndpoints("p", "z", "neg", &googlecompute.NetworkEndpointGroupsAttachEndpointsRequest{NetworkEndpoints: endpoint}).Do())
	}
	n := must[*Snapshot](t)(s.Snapshot())
	if got := n.Endpoints(n.BackendServices["b"]); len(got) != 1 || got[0] != (Endpoint{"neg", "10.8.0.2", 19530}) {
		t.Errorf("attached: %v", got)
	}
	op(c.NetworkEndpointGroups.DetachNetworkEndpoints("p", "z", "neg", &googlecompute.NetworkEndpointGroupsDetachEndpointsRequest{NetworkEndpoints: endpoint}).Do())
	n = must[*Snapshot](t)(s.Snapshot())
	if got := n.Endpoints(n.BackendServices["b"]); len(got) != 0 {
		t.Errorf("detached: %v", got)
	}
	if s.Calls()["POST networkEndpointGroups"] == 0 {
		t.Errorf("calls are not counted: %v", s.Calls())
	}
}

func TestHealthCheckRanges(t *testing.T) {
	_, c := serve(t)
	_, err := c.HealthChecks.Insert("p", &googlecompute.HealthCheck{Name: "a", CheckIntervalSec: 5, TimeoutSec: 15}).Do()
	refused(t, err, 400, "TimeoutSec should be less than checkIntervalSec")
	_, err = c.HealthChecks.Insert("p", &googlecompute.HealthCheck{Name: "a", CheckIntervalSec: 301}).Do()
	refused(t, err, 400, "resource.checkIntervalSec")
}
