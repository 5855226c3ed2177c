package milvus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"sandbox/milvus/store"
)

var stores string // URL of the store endpoint, with a real Milvus Lite behind it

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "milvus-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		python, err := filepath.Abs("../../../.cache/python")
		if err == nil {
			stores, err = store.Serve(ctx, store.Config{Dir: dir, Python: python,
				Start: func(cmd *exec.Cmd) error {
					cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
					return cmd.Start()
				},
				Components: func(_, release string) []string {
					return map[string][]string{"whole": {"mixcoord", "proxy"}, "without-coordinator": {"proxy"}}[release]
				}})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// pod is a Milvus process of a test with a root folder and an address of its own.
type pod struct {
	*component
	stop context.CancelFunc
	done chan error
}

var lastAddress byte

// newPod prepares a Milvus of a version with files of /milvus/configs and variables.
func newPod(t *testing.T, name, tag, release string, files map[string]string, env ...string) *pod {
	t.Helper()
	root := t.TempDir()
	for file, text := range files {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lastAddress++
	environ := append([]string{"MILVUS_GIT_BUILD_TAGS=" + tag, "SANDBOX_ROOT=" + root, "SANDBOX_STORE=" + stores + "/default/" + release,
		fmt.Sprintf("SANDBOX_ADDRESS=127.%d.%d.%d", 200+os.Getpid()%50, os.Getpid()/50%250, lastAddress)}, env...)
	c, err := newComponent(name, environ)
	if err != nil {
		t.Fatal(err)
	}
	return &pod{component: c}
}

// start runs it until the test ends; the error is what keeps it from starting.
func (p *pod) start(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan error, 1)
	go func() { p.done <- p.run(ctx) }()
	deadline := time.Now().Add(10 * time.Second)
	for {
		select {
		case err := <-p.done:
			cancel()
			p.done <- err
			return err
		default:
		}
		if res, err := http.Get("http://" + p.address + ":9091/healthz"); err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK && string(body) == "OK" {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("/healthz is not OK after 10 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-p.done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return nil
}

func (p *pod) client(t *testing.T, creds credentials.TransportCredentials) milvuspb.MilvusServiceClient {
	t.Helper()
	cc, err := grpc.NewClient(p.address+":19530", grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return milvuspb.NewMilvusServiceClient(cc)
}

func TestConfigurationPrecedence(t *testing.T) {
	files := map[string]string{
		"milvus/configs/default.yaml": "minio: {address: a, bucketName: b, port: 9000}\nproxy: {http: {port: 1}}\netcd: {endpoints: [e1, e2]}\n",
		"milvus/configs/user.yaml":    "minio: {bucketName: c}\nproxy: {http: {port: 2}}\ncommon: {security: {tlsMode: 1}}\n",
	}
	c := newPod(t, "proxy", "v2.5.16", "x", files, "PROXY_HTTP_PORT=3", "COMMON_SECURITY_TLSMODE=0").config
	for key, want := range map[string]string{"minio.address": "a", "minio.bucketName": "c", "minio.rootPath": "files", "proxy.http.port": "3",
		"common.security.tlsMode": "0", "proxy.http.enabled": "true", "etcd.endpoints": "e1,e2", "minio.port": "9000"} {
		if got := c.text(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestRESTOnTheSharedPortRefusesTLS(t *testing.T) {
	tls := map[string]string{"milvus/configs/user.yaml": "common: {security: {tlsMode: 1}}"}
	for _, c := range []struct {
		tag     string
		env     string
		refused bool
	}{
		{"v2.4.6", "", false}, {"v2.4.12", "", false}, {"v2.4.13", "", true}, {"v2.5.16", "", true}, {"v2.6.0-rc1", "", true}, {"v2.6.15", "", true},
		{"v2.6.15", "PROXY_HTTP_ENABLED=false", false}, {"v2.6.15", "PROXY_HTTP_PORT=8080", false}, {"v2.6.15", "PROXY_HTTP_PORT=19530", true}, {"v2.6.15", "COMMON_SECURITY_TLSMODE=0", false},
	} {
		for _, name := range []string{"proxy", "standalone"} {
			t.Run(strings.Join([]string{c.tag, c.env, name}, " "), func(t *testing.T) {
				err := newPod(t, name, c.tag, "x", tls, c.env).start(t)
				if c.refused && (err == nil || err.Error() != "proxy server(http) and external grpc server share the same port, tls mode must be 0") {
					t.Errorf("error %v", err)
				}
				if !c.refused && err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := newPod(t, "mixcoord", "v2.6.15", "x", tls).start(t); err != nil {
		t.Errorf("a coordinator has no client port to refuse: %v", err)
	}
}

// server makes a certificate for the name, and a pool that trusts it.
func server(t *testing.T, name string) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	pool.AppendCertsFromPEM([]byte(certificate))
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), pool
}

func TestCertificates(t *testing.T) {
	certificate, key, pool := server(t, "milvus.example.com")
	version := func(p *pod, creds credentials.TransportCredentials) error {
		v, err := p.client(t, creds).GetVersion(t.Context(), &milvuspb.GetVersionRequest{})
		if err == nil && v.GetVersion() != p.tag {
			err = fmt.Errorf("version %q, want %q", v.GetVersion(), p.tag)
		}
		return err
	}
	byName := credentials.NewTLS(&tls.Config{ServerName: "milvus.example.com", RootCAs: pool})
	config := "tls: {serverPemPath: /certs/tls.crt, serverKeyPath: /certs/tls.key, caPemPath: /certs/tls.crt}\nproxy: {http: {enabled: false}}\ncommon: {security: {tlsMode: %d}}\n"
	files := func(mode int) map[string]string {
		return map[string]string{"certs/tls.crt": certificate, "certs/tls.key": key, "milvus/configs/user.yaml": fmt.Sprintf(config, mode)}
	}

	t.Run("configured files, mode 1", func(t *testing.T) {
		p := newPod(t, "proxy", "v2.5.16", "x", files(1))
		if err := p.start(t); err != nil {
			t.Fatal(err)
		}
		if err := version(p, byName); err != nil {
			t.Error(err)
		}
		if err := version(p, insecure.NewCredentials()); status.Code(err) != codes.Unavailable {
			t.Errorf("plain text to the TLS port: %v", err)
		}
		c, err := tls.Dial("tcp", p.address+":19530", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("ALPN %q, want h2", got)
		}
	})
	t.Run("the image's own, mode 1", func(t *testing.T) {
		p := newPod(t, "standalone", "v2.4.6", "x", map[string]string{"milvus/configs/user.yaml": "common: {security: {tlsMode: 1}}"})
		if err := p.start(t); err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", p.address+":19530", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		leaf := c.ConnectionState().PeerCertificates[0]
		if leaf.Subject.CommonName != "localhost" || leaf.DNSNames[0] != "localhost" || leaf.NotAfter.Format(time.DateOnly) != "2032-04-28" {
			t.Errorf("certificate %s %v until %s", leaf.Subject, leaf.DNSNames, leaf.NotAfter)
		}
	})
	t.Run("mode 2 demands a client certificate", func(t *testing.T) {
		p := newPod(t, "proxy", "v2.6.15", "x", files(2))
		if err := p.start(t); err != nil {
			t.Fatal(err)
		}
		if err := version(p, byName); err == nil {
			t.Error("a client without a certificate was served")
		}
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := version(p, credentials.NewTLS(&tls.Config{ServerName: "milvus.example.com", RootCAs: pool, Certificates: []tls.Certificate{pair}})); err != nil {
			t.Error(err)
		}
	})
	t.Run("a missing file keeps it from starting", func(t *testing.T) {
		f := files(1)
		delete(f, "certs/tls.key")
		err := newPod(t, "proxy", "v2.5.16", "x", f).start(t)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "open /certs/tls.key:") {
			t.Errorf("error %v, want the path as in the container", err)
		}
	})
}

func TestREST(t *testing.T) {
	list := func(url string) (int, string, error) {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		res, err := client.Post(url+"/v2/vectordb/collections/list", "application/json", strings.NewReader("{}"))
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res.StatusCode, strings.TrimSpace(string(b)), err
	}
	const answer = `{"code":0,"data":[]}`
	shared := newPod(t, "proxy", "v2.5.16", "rest", nil)
	if err := shared.start(t); err != nil {
		t.Fatal(err)
	}
	if code, body, err := list("http://" + shared.address + ":19530"); err != nil || code != 200 || body != answer {
		t.Errorf("REST on the shared port: %d %s %v", code, body, err)
	}
	own := newPod(t, "proxy", "v2.5.16", "rest", map[string]string{"milvus/configs/user.yaml": "common: {security: {tlsMode: 1}}\nproxy: {http: {port: 8080}}"})
	if err := own.start(t); err != nil {
		t.Fatal(err)
	}
	if code, body, err := list("https://" + own.address + ":8080"); err != nil || code != 200 || body != answer {
		t.Errorf("REST on a port of its own: %d %s %v", code, body, err)
	}
	old := newPod(t, "proxy", "v2.4.12", "rest", map[string]string{"milvus/configs/user.yaml": "common: {security: {tlsMode: 1}}"})
	if err := old.start(t); err != nil {
		t.Fatal(err)
	}
	if _, body, err := list("https://" + old.address + ":19530"); err == nil && body == answer {
		t.Error("Milvus 2.4.12 with TLS serves REST on the shared port")
	}
}

func TestAuthorization(t *testing.T) {
	p := newPod(t, "proxy", "v2.5.16", "x", nil, "COMMON_SECURITY_AUTHORIZATIONENABLED=true")
	if err := p.start(t); err != nil {
		t.Fatal(err)
	}
	client := p.client(t, insecure.NewCredentials())
	for _, c := range []struct{ token, want string }{
		{"", "missing authorization in header"},
		{"root:wrong", "auth check failure, please check username and password are correct"},
		{"someone:Milvus", "auth check failure, please check username and password are correct"},
		{"key", "auth check failure, please check api key is correct"},
		{"root:Milvus", ""},
	} {
		ctx := t.Context()
		if c.token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", base64.StdEncoding.EncodeToString([]byte(c.token)))
		}
		for name, call := range map[string]func() error{
			"Connect": func() error { _, err := client.Connect(ctx, &milvuspb.ConnectRequest{}); return err },
			"ShowCollections": func() error {
				_, err := client.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{})
				return err
			},
		} {
			err := call()
			if c.want == "" && err != nil || c.want != "" && (status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != c.want) {
				t.Errorf("%s with %q: %v, want %q", name, c.token, err, c.want)
			}
		}
	}
	cc, err := grpc.NewClient(p.address+":19530", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if _, err := grpc_health_v1.NewHealthClient(cc).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("health service without credentials: %v", err)
	}
}

func TestConnectVersionAndHealth(t *testing.T) {
	for release, reasons := range map[string]string{"whole": "", "without-coordinator": "check health fail for mixcoord"} {
		p := newPod(t, "proxy", "v2.6.15", release, nil)
		if err := p.start(t); err != nil {
			t.Fatal(err)
		}
		client := p.client(t, insecure.NewCredentials())
		hello, err := client.Connect(t.Context(), &milvuspb.ConnectRequest{})
		if err != nil || hello.GetServerInfo().GetBuildTags() != "v2.6.15" || hello.GetIdentifier() == 0 {
			t.Errorf("Connect: %v %v", hello, err)
		}
		health, err := client.CheckHealth(t.Context(), &milvuspb.CheckHealthRequest{})
		if err != nil || health.GetIsHealthy() != (reasons == "") || strings.Join(health.GetReasons(), ",") != reasons {
			t.Errorf("CheckHealth of %s: %v %v", release, health, err)
		}
	}
}

// collection creates a collection by its schema alone.
func collection(t *testing.T, client milvuspb.MilvusServiceClient, name string) {
	t.Helper()
	schema, err := proto.Marshal(&schemapb.CollectionSchema{Name: name, Fields: []*schemapb.FieldSchema{
		{FieldID: 100, Name: "id", IsPrimaryKey: true, DataType: schemapb.DataType_Int64},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.CreateCollection(t.Context(), &milvuspb.CreateCollectionRequest{CollectionName: name, Schema: schema})
	if err != nil || s.GetCode() != 0 {
		t.Fatalf("creating %s: %v %v", name, s, err)
	}
}

func has(t *testing.T, client milvuspb.MilvusServiceClient, name string) bool {
	t.Helper()
	found, err := client.HasCollection(t.Context(), &milvuspb.HasCollectionRequest{CollectionName: name})
	if err != nil {
		t.Fatal(err)
	}
	return found.GetValue()
}

// What two Milvus processes see is the same exactly when release and object storage are.
func TestDataIdentity(t *testing.T) {
	client := func(release string, env ...string) milvuspb.MilvusServiceClient {
		p := newPod(t, "proxy", "v2.5.16", release, map[string]string{"milvus/configs/default.yaml": "minio: {address: storage.googleapis.com, bucketName: b, rootPath: r}"}, env...)
		if err := p.start(t); err != nil {
			t.Fatal(err)
		}
		return p.client(t, insecure.NewCredentials())
	}
	collection(t, client("one"), "kept")
	for name, c := range map[string]struct {
		client milvuspb.MilvusServiceClient
		want   bool
	}{
		"a second proxy":    {client("one"), true},
		"another release":   {client("two"), false},
		"another address":   {client("one", "MINIO_ADDRESS=one-minio"), false},
		"another bucket":    {client("one", "MINIO_BUCKETNAME=c"), false},
		"another root path": {client("one", "MINIO_ROOTPATH=s"), false},
	} {
		if got := has(t, c.client, "kept"); got != c.want {
			t.Errorf("%s sees the collection: %t, want %t", name, got, c.want)
		}
	}
}

func TestForwardedErrorsKeepTheirCode(t *testing.T) {
	p := newPod(t, "proxy", "v2.5.16", "x", nil)
	if err := p.start(t); err != nil {
		t.Fatal(err)
	}
	client := p.client(t, insecure.NewCredentials())
	if _, err := client.ListResourceGroups(t.Context(), &milvuspb.ListResourceGroupsRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a call that the store does not have: %v, want Unimplemented", err)
	}
	s, err := client.DropCollection(t.Context(), &milvuspb.DropCollectionRequest{CollectionName: "none"})
	if err != nil {
		t.Errorf("dropping what is not there: %v %v", s, err)
	}
}

// On SIGTERM the port closes at once and a call under way is answered.
func TestGracefulStop(t *testing.T) {
	p := newPod(t, "proxy", "v2.5.16", "x", map[string]string{"milvus/configs/user.yaml": "proxy: {http: {enabled: false}}"})
	if err := p.start(t); err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient(p.address+":19530", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	// a streamed request that is half sent is a call under way
	stream, err := cc.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, milvuspb.MilvusService_GetVersion_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	client := milvuspb.NewMilvusServiceClient(cc)
	if _, err := client.GetVersion(t.Context(), &milvuspb.GetVersionRequest{}); err != nil { // the server has seen the stream
		t.Fatal(err)
	}
	p.stop()
	refused := false
	for deadline := time.Now().Add(5 * time.Second); !refused && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", p.address+":19530")
		if err == nil {
			c.Close()
		}
		refused = errors.Is(err, syscall.ECONNREFUSED)
	}
	if !refused {
		t.Error("the port is still open")
	}
	var answer milvuspb.GetVersionResponse
	if err := stream.SendMsg(&milvuspb.GetVersionRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&answer); err != nil || answer.GetVersion() != "v2.5.16" {
		t.Errorf("the call under way: %v %v", &answer, err)
	}
}
