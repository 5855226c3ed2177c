//go:build sandbox

// Tests on a running sandbox, with the programs that build.mjs built:
//
//	go test -tags sandbox ./cmd/sandbox
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running is a sandbox in a process of its own.
type running struct {
	t   *testing.T
	cmd *exec.Cmd
	document
	stdin io.WriteCloser
}

func cacheDir(t *testing.T) string {
	dir, err := filepath.Abs("../../../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{t: t}
	r.cmd = exec.Command(filepath.Join(cacheDir(t), "bin", "sandbox"), append([]string{"up", "--dir", dir}, args...)...)
	var said bytes.Buffer
	r.cmd.Stderr = &said
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		_ = r.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the sandbox did not become ready: %v\n%s", err, said.String())
	}
	if err := json.Unmarshal(line, &r.document); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs one of the sandbox's tools as a user would.
func (r *running) run(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(r.Bin, args[0]), args[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+r.Kubeconfig, "PATH="+r.Bin+":"+os.Getenv("PATH"))
	for k, v := range r.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r *running) must(stdin string, args ...string) string {
	r.t.Helper()
	out, err := r.run(stdin, args...)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *running) control(method, path, body string) string {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.Control+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %s %v %s", method, path, response.Status, err, b)
	}
	return string(b)
}

// eventually waits for a condition and says what was there instead.
func eventually(t *testing.T, what string, limit time.Duration, check func() (bool, string)) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		ok, seen := check()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s, but\n%s", what, limit, seen)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (r *running) eventuallyEvent(object, text string) {
	r.t.Helper()
	eventually(r.t, "event with "+text, 60*time.Second, func() (bool, string) {
		out := r.must("", "kubectl", "get", "events", "--field-selector", "involvedObject.name="+object, "-o", `jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}`)
		return strings.Contains(out, text), out
	})
}

const ingress = `
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {cloud.google.com/neg: '{"ingress":true}'}}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %[1]s
  annotations: {kubernetes.io/ingress.class: gce, %[2]s}
spec:
  %[3]s
  rules: [{host: %[1]s.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
`

func TestRefusalsReachTheUser(t *testing.T) {
	r := start(t)
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.must("", "kubectl", "create", "secret", "tls", "big", "--cert="+dir+"/tls.crt", "--key="+dir+"/tls.key")
	r.must(fmt.Sprintf(ingress, "big", "note: none", "tls: [{secretName: big}]"), "kubectl", "apply", "-f", "-")
	r.eventuallyEvent("big", "googleapi: Error 400: The SSL certificate uses a key type that is not supported: RSA-3072")

	r.must("", "gcloud", "compute", "addresses", "create", "taken", "--global")
	address := strings.TrimSpace(r.must("", "gcloud", "compute", "addresses", "describe", "taken", "--global", "--format=value(address)"))
	r.control("PUT", "/occupied/"+address, `{"by":"projects/sandbox-project/zones/z/instances/vm"}`)
	r.must(fmt.Sprintf(ingress, "taken", "kubernetes.io/ingress.global-static-ip-name: taken", ""), "kubectl", "apply", "-f", "-")
	r.eventuallyEvent("taken", "googleapi: Error 409: IP_IN_USE_BY_ANOTHER_RESOURCE")

	r.control("PUT", "/quota/sslCertificates", `{"limit":0}`)
	r.must("apiVersion: networking.gke.io/v1\nkind: ManagedCertificate\nmetadata: {name: mc}\nspec: {domains: [mc.example.com]}\n", "kubectl", "apply", "-f", "-")
	r.must(fmt.Sprintf(ingress, "mc", "networking.gke.io/managed-certificates: mc", ""), "kubectl", "apply", "-f", "-")
	r.eventuallyEvent("mc", "Quota 'SSL_CERTIFICATES' exceeded.  Limit: 0.0 globally.")

	if out, err := r.run("", "gcloud", "compute", "addresses", "create", "taken", "--global"); err == nil ||
		!strings.HasPrefix(out, "ERROR: (gcloud.compute.addresses.create) Could not fetch resource:\n - The resource 'projects/sandbox-project/global/addresses/taken' already exists") {
		t.Errorf("creating an address twice: %v %s", err, out)
	}
}

func TestEveryCertificateState(t *testing.T) {
	r := start(t, "--speed", "200")
	r.must("apiVersion: networking.gke.io/v1\nkind: ManagedCertificate\nmetadata: {name: mc}\nspec: {domains: [mc.example.com]}\n", "kubectl", "apply", "-f", "-")
	status := func() string {
		return r.must("", "kubectl", "get", "managedcertificate", "mc", "-o", "jsonpath={.status.certificateStatus} {.status.domainStatus[0].status}")
	}
	expect := func(want string) {
		t.Helper()
		eventually(t, want, 30*time.Second, func() (bool, string) { s := status(); return s == want, s })
	}
	expect("Provisioning FailedNotVisible") // no Ingress carries it: the order of a guide that waits for Active first
	for _, step := range []struct{ outcome, want string }{
		{"FailedCaaChecking", "Provisioning FailedCaaChecking"}, {"FailedCaaForbidden", "Provisioning FailedCaaForbidden"},
		{"FailedRateLimited", "Provisioning FailedRateLimited"}, {"ProvisioningFailed", "ProvisioningFailed FailedNotVisible"},
		{"Provisioning", "Provisioning Provisioning"}, {"Active", "Active Active"}, {"RenewalFailed", "RenewalFailed FailedNotVisible"},
		{"ProvisioningFailedPermanently", "ProvisioningFailedPermanently FailedNotVisible"},
	} {
		r.control("PUT", "/certificates/mc.example.com", fmt.Sprintf(`{"outcome":%q}`, step.outcome))
		expect(step.want)
	}
}

func TestCredentialsExpire(t *testing.T) {
	r := start(t)
	r.control("PUT", "/token", `{"lifetimeSeconds":2}`)
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(r.must("", "gke-gcloud-auth-plugin")), &credential); err != nil {
		t.Fatal(err)
	}
	whoami := func() (string, error) {
		return r.run("", "kubectl", "--kubeconfig=/dev/null", "--server="+r.Server, "--insecure-skip-tls-verify", "--token="+credential.Status.Token, "auth", "whoami")
	}
	if out, err := whoami(); err != nil || !strings.Contains(out, "sandbox:admins") {
		t.Fatalf("a fresh token: %v %s", err, out)
	}
	eventually(t, "401", 10*time.Second, func() (bool, string) {
		out, err := whoami()
		return err != nil && strings.Contains(out, "must be logged in"), out
	})
	r.must("", "kubectl", "get", "nodes") // the plugin gets another one
	for context, cannot := range map[string][]string{
		r.Contexts.Reader:        {"get", "secrets", "-A"},
		r.Contexts.WithoutMilvus: {"get", "pods", "-n", "default"},
	} {
		if out, err := r.run("", append([]string{"kubectl", "--context", context}, cannot...)...); err == nil || !strings.Contains(out, "forbidden") {
			t.Errorf("%s could %v: %s", context, cannot, out)
		}
		r.must("", "kubectl", "--context", context, "get", "pods", "-n", "empty")
	}
	if out, err := r.run("", "kubectl", "--context", r.Contexts.Reader, "create", "namespace", "x"); err == nil {
		t.Errorf("the reader wrote: %s", out)
	}
	if out, err := r.run("", "kubectl", "--context", r.Contexts.Unreachable, "get", "pods"); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("unreachable: %s", out)
	}
}

func TestParts(t *testing.T) {
	r := start(t)
	for _, state := range []string{"paused", "killed"} {
		name := "while-" + state
		r.control("PUT", "/parts/glbc", fmt.Sprintf(`{"state":%q}`, state))
		r.must(fmt.Sprintf(ingress, name, "note: none", ""), "kubectl", "apply", "-f", "-")
		time.Sleep(3 * time.Second) // long enough for glbc, which takes one second when it runs
		finalizers := func() string {
			return r.must("", "kubectl", "get", "ingress", name, "-o", "jsonpath={.metadata.finalizers}")
		}
		if f := finalizers(); f != "" {
			t.Errorf("%s, glbc still wrote %s", state, f)
		}
		r.control("PUT", "/parts/glbc", `{"state":"running"}`)
		eventually(t, "finalizer after "+state, 30*time.Second, func() (bool, string) { f := finalizers(); return f != "", f })
	}
	for _, state := range []string{"paused", "killed"} {
		name := "deployment-" + state
		r.control("PUT", "/parts/controller-manager", fmt.Sprintf(`{"state":%q}`, state))
		r.must("", "kubectl", "create", "deployment", name, "--image=sandbox/pause:1")
		time.Sleep(2 * time.Second)
		replicas := func() string { return r.must("", "kubectl", "get", "replicasets", "-l", "app="+name, "-o", "name") }
		if s := replicas(); s != "" {
			t.Errorf("%s, the controller manager still made %s", state, s)
		}
		r.control("PUT", "/parts/controller-manager", `{"state":"running"}`)
		eventually(t, "ReplicaSet after "+state, 60*time.Second, func() (bool, string) { s := replicas(); return s != "", s })
	}
	for _, state := range []string{"paused", "killed"} {
		name := "mc-" + state
		r.control("PUT", "/parts/managed-certificates", fmt.Sprintf(`{"state":%q}`, state))
		r.must("apiVersion: networking.gke.io/v1\nkind: ManagedCertificate\nmetadata: {name: "+name+"}\nspec: {domains: ["+name+".example.com]}\n", "kubectl", "apply", "-f", "-")
		time.Sleep(2 * time.Second)
		certificate := func() string {
			return r.must("", "kubectl", "get", "managedcertificate", name, "-o", "jsonpath={.status.certificateName}")
		}
		if s := certificate(); s != "" {
			t.Errorf("%s, the managed-certificate controller still made %s", state, s)
		}
		r.control("PUT", "/parts/managed-certificates", `{"state":"running"}`)
		eventually(t, "certificate after "+state, 60*time.Second, func() (bool, string) { s := certificate(); return s != "", s })
	}
}

// family lists the living processes whose command line or environment names the directory.
func family(dir string) []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		line, _ := os.ReadFile(p + "/cmdline")
		env, _ := os.ReadFile(p + "/environ")
		if pid, _ := strconv.Atoi(filepath.Base(p)); pid != os.Getpid() && (bytes.Contains(line, []byte(dir)) || bytes.Contains(env, []byte(dir))) {
			out = append(out, filepath.Base(p)+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}

func TestNothingIsLeft(t *testing.T) {
	for name, end := range map[string]func(r *running){
		"SIGTERM":      func(r *running) { _ = r.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGINT":       func(r *running) { _ = r.cmd.Process.Signal(syscall.SIGINT) },
		"SIGKILL":      func(r *running) { _ = r.cmd.Process.Kill() },
		"stdin closes": func(r *running) { _ = r.stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, "--until-stdin-closes")
			r.must("", "helm", "install", "my-release", "milvus/milvus", "--version", "4.2.58", "--set", "service.type=LoadBalancer", "--wait", "--timeout", "60s")
			eventually(t, "a Layer 4 address", 30*time.Second, func() (bool, string) {
				s := r.control("GET", "/load-balancers", "")
				return strings.Contains(s, `"layer":4`), s
			})
			dir := filepath.Dir(r.Bin)
			if len(family(dir)) < 3 {
				t.Fatalf("the test does not see the sandbox's processes: %v", family(dir))
			}
			begin := time.Now()
			end(r)
			err := r.cmd.Wait()
			if name != "SIGKILL" && err != nil {
				t.Errorf("exit: %v", err)
			}
			eventually(t, "no process", 5*time.Second, func() (bool, string) { l := family(dir); return len(l) == 0, strings.Join(l, "\n") })
			t.Logf("gone after %s", time.Since(begin))
			for _, url := range []string{r.Server, r.Control, "tcp://" + r.DNS, fmt.Sprintf("tcp://127.%d.0.2:10250", 128+r.Net), fmt.Sprintf("tcp://127.%d.0.2:31252", 128+r.Net)} {
				_, address, _ := strings.Cut(url, "://")
				if c, err := net.Dial("tcp", address); err == nil {
					c.Close()
					t.Errorf("%s still listens", url)
				}
			}
		})
	}
}
