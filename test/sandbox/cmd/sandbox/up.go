package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"sandbox/authority"
	"sandbox/clock"
	"sandbox/compute"
	"sandbox/control"
	"sandbox/controlplane"
	"sandbox/credentials"
	"sandbox/dns"
	"sandbox/gkeingress"
	"sandbox/healthcheck"
	"sandbox/layer4"
	"sandbox/loadbalancer"
	"sandbox/managedcerts"
	"sandbox/nodes"
	"sandbox/part"
	"sandbox/readinessgates"

	"k8s.io/component-base/version"
)

type options struct {
	dir, cache string
	speed      float64
	helm       int
}

// complete fills in what was left out and makes the directory.
func (o *options) complete() error {
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return fmt.Errorf("finding %s: %w", o.dir, err)
	}
	if o.cache == "" {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		o.cache = filepath.Dir(filepath.Dir(program))
	}
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return fmt.Errorf("finding %s: %w", o.cache, err)
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(o.dir, "etcd")); err == nil {
		return fmt.Errorf("%s already holds a sandbox; give an empty directory", o.dir)
	}
	for _, name := range []string{"glbc", "kubectl", "gcloud", "milvus", "helm3", "helm4"} {
		if _, err := os.Stat(o.binary(name)); err != nil {
			return fmt.Errorf("%s is not built; run: node test/sandbox/build.mjs", o.binary(name))
		}
	}
	return nil
}

func (o *options) binary(name string) string { return filepath.Join(o.cache, "bin", name) }

// document is what the caller learns when the sandbox is ready.
type document struct {
	Kubeconfig   string                `json:"kubeconfig"`
	Contexts     controlplane.Contexts `json:"contexts"`
	Server       string                `json:"server"`
	Control      string                `json:"control"`
	DNS          string                `json:"dns"`
	Bin          string                `json:"bin"`
	PublicCA     string                `json:"publicCA"`
	Env          map[string]string     `json:"env"`
	Chart        *chartDocument        `json:"chart,omitempty"`
	Speed        float64               `json:"speed"`
	Net          int                   `json:"net"`
	Logs         map[string]string     `json:"logs"`
	Versions     map[string]string     `json:"versions"`
	ReadyAfterMs int64                 `json:"readyAfterMs"`
}

type chartDocument struct {
	Folder     string   `json:"folder"`
	Repository string   `json:"repository"`
	Versions   []string `json:"versions"`
}

// sandbox is everything that runs.
type sandbox struct {
	options  options
	document document
	fatal    chan error
	begin    time.Time

	mu   sync.Mutex
	ends []func()
}

func (s *sandbox) progress(what string) {
	fmt.Fprintf(os.Stderr, "%5.1f s  %s\n", time.Since(s.begin).Seconds(), what)
}

func (s *sandbox) onClose(end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, end)
}

// close ends the parts that are processes or hold some, the last started first. What runs inside this process
// ends with it.
func (s *sandbox) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
	s.progress("ended")
}

// log opens a log of JSON lines.
func (s *sandbox) log(name string) (*slog.Logger, error) {
	f, err := os.OpenFile(filepath.Join(s.options.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), nil
}

// serve answers on a free loopback port until the end.
func (s *sandbox) serve(handler http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	go func() { _ = (&http.Server{Handler: handler}).Serve(l) }()
	return l.Addr().String(), nil
}

// reservation holds the number that reserveNet took.
var reservation net.Listener

// reserveNet takes the first free number for loopback ranges: load balancers of layer 7 get 127.(20+net).0.x,
// of layer 4 127.(60+net).0.x, pods 10.(8+net).x.y, nodes 10.(128+net).0.x. The listener is the reservation,
// so that it ends with the process.
func reserveNet() (int, error) {
	for n := range 12 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:10250", 20+n)); err == nil {
			reservation = l // a listener that nothing refers to is closed by the garbage collector
			return n, nil
		}
	}
	return 0, errors.New("all twelve loopback ranges for sandboxes are taken")
}

func up(ctx context.Context, o options) (*sandbox, error) {
	s := &sandbox{options: o, fatal: make(chan error, 8), begin: time.Now()}
	return s, s.start(ctx)
}

func (s *sandbox) start(ctx context.Context) error {
	o := s.options
	number, err := reserveNet()
	if err != nil {
		return err
	}
	speed, err := clock.New(o.speed)
	if err != nil {
		return err
	}
	parts, err := s.log("sandbox.log")
	if err != nil {
		return err
	}
	computeLog, err := s.log("compute.log")
	if err != nil {
		return err
	}
	balancerLog, err := s.log("load-balancer.log")
	if err != nil {
		return err
	}
	ca, err := authority.New(o.dir, "ca", "sandbox cluster CA")
	if err != nil {
		return err
	}
	publicCA, err := authority.New(o.dir, "public-ca", "Sandbox Public CA")
	if err != nil {
		return err
	}
	names, err := dns.Start(parts)
	if err != nil {
		return err
	}
	var lastAddress int
	store := compute.NewStore(compute.Config{
		Project: controlplane.Project, Region: controlplane.Region, Zones: []string{controlplane.Zone},
		NextAddress: func() string { // called under the store's lock
			lastAddress++
			return fmt.Sprintf("127.%d.%d.%d", 20+number, lastAddress/250, lastAddress%250+1)
		},
	})
	computeAddress, err := s.serve(&compute.API{Store: store, Log: computeLog})
	if err != nil {
		return err
	}
	// Google's client libraries look for default credentials there.
	if err := os.Setenv("GCE_METADATA_HOST", computeAddress); err != nil {
		return fmt.Errorf("setting GCE_METADATA_HOST: %w", err)
	}
	tokens := credentials.New(credentials.User{Name: controlplane.AdminUser, Groups: []string{controlplane.AdminGroup}}, time.Minute)
	endpoint := &control.Endpoint{DNS: names, Compute: store, Clock: speed, Tokens: tokens}
	controlAddress, err := s.serve(endpoint.Handler())
	if err != nil {
		return err
	}
	controlURL := "http://" + controlAddress
	if err := s.writeBin(controlURL, "http://"+computeAddress); err != nil {
		return err
	}

	cluster, err := controlplane.Start(ctx, controlplane.Config{
		Dir: o.dir, Authority: ca, TokenWebhook: controlURL + "/tokenreview", Progress: s.progress,
		Fatal: func(component string, err error) { s.fatal <- fmt.Errorf("%s ended: %w", component, err) },
	})
	if err != nil {
		return err
	}
	s.onClose(cluster.Close)
	kubeconfig := filepath.Join(o.dir, "kubeconfig")
	if err := cluster.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	if _, err := cluster.Kubeconfig("admin", authority.Request{CommonName: "admin", Organizations: []string{controlplane.AdminGroup}}); err != nil {
		return err
	}
	ofGLBC, err := cluster.Kubeconfig("glbc", authority.Request{CommonName: "system:controller:glbc", Organizations: []string{"system:masters"}})
	if err != nil {
		return err
	}
	// glbc takes some seconds, mostly waiting for its CRDs; the other parts start meanwhile.
	glbc, err := gkeingress.Start(ctx, gkeingress.Config{Binary: o.binary("glbc"), Dir: o.dir, Kube: cluster.Kube, Kubeconfig: ofGLBC, Compute: computeAddress, Clock: speed, Log: parts})
	if err != nil {
		return err
	}
	s.onClose(glbc.Close)

	kubelet, err := nodes.Start(ctx, nodes.Config{
		Kube: cluster.Kube, Dir: filepath.Join(o.dir, "nodes"), Speed: speed.Factor, Net: number,
		Project: controlplane.Project, Region: controlplane.Region, Zone: controlplane.Zone,
		Binary: o.binary, Control: controlURL, Cache: o.cache,
		Issue: func(name, cn string, orgs, dnsNames []string, ips []net.IP) (string, string, error) {
			return ca.IssueFiles(name, authority.Request{CommonName: cn, Organizations: orgs, DNSNames: dnsNames, Addresses: ips})
		},
		AddInstance: func(_ context.Context, name, ip, podCIDR string) error {
			store.AddInstance(name, ip, podCIDR, gkeingress.NodeTag)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("starting the nodes: %w", err)
	}
	s.onClose(kubelet.Wait)
	s.progress("nodes")
	if err := layer4.Start(ctx, layer4.Config{Kube: cluster.Kube, Net: number, Log: slog.NewLogLogger(parts.Handler(), slog.LevelInfo)}); err != nil {
		return fmt.Errorf("starting Layer 4: %w", err)
	}
	if err := readinessgates.Start(ctx, cluster.Kube, ca, parts); err != nil {
		return err
	}
	prober := healthcheck.Start(ctx, store, speed, parts)
	balancer := loadbalancer.Start(ctx, store, prober, balancerLog)
	certificates, err := managedcerts.StartController(ctx, managedcerts.ControllerConfig{Dir: o.dir, Rest: cluster.Rest, Compute: computeAddress, Clock: speed, Log: parts})
	if err != nil {
		return err
	}
	issuer := managedcerts.NewIssuer(store, names, speed, publicCA, parts)
	go issuer.Run(ctx)
	s.progress("managed-certificate controller")
	if err := glbc.Wait(ctx); err != nil {
		return err
	}
	s.progress("GKE's ingress, NEG and firewall controllers")

	s.document = document{
		Kubeconfig: kubeconfig, Contexts: controlplane.ContextNames(), Server: cluster.Server, Control: controlURL, DNS: names.Address(),
		Bin: filepath.Join(o.dir, "bin"), PublicCA: publicCA.Path("public-ca.crt"), Env: s.helmEnvironment(), Speed: o.speed, Net: number,
		Logs: map[string]string{
			"audit": cluster.AuditLog, "compute": filepath.Join(o.dir, "compute.log"), "glbc": filepath.Join(o.dir, "glbc.log"),
			"loadBalancer": filepath.Join(o.dir, "load-balancer.log"), "sandbox": filepath.Join(o.dir, "sandbox.log"),
			"kubernetes": filepath.Join(o.dir, "kubernetes.log"), "managedCertificates": filepath.Join(o.dir, "managed-certificates.log"),
		},
		Versions: s.versions(),
	}
	if s.document.Chart, err = s.serveCharts(); err != nil {
		return err
	}
	s.document.ReadyAfterMs = time.Since(s.begin).Milliseconds()
	endpoint.SetReady(&control.Cluster{
		Document: s.document, Issuer: issuer, LoadBalancer: balancer, Kube: cluster.Kube,
		Parts: map[string]part.Part{
			"glbc": glbc, "managed-certificates": certificates, "controller-manager": cluster.ControllerManager,
			"load-balancer": balancer, "health": prober, "dns": names,
		},
	})
	s.progress("ready")
	return nil
}

// writeBin makes the directory that belongs in front of PATH. The stand-ins of Google's tools find their sandbox
// by the file beside them.
func (s *sandbox) writeBin(controlURL, computeURL string) error {
	bin := filepath.Join(s.options.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", bin, err)
	}
	for name, program := range map[string]string{
		"kubectl": "kubectl", "helm": fmt.Sprintf("helm%d", s.options.helm), "helm3": "helm3", "helm4": "helm4",
		"gcloud": "gcloud", "gke-gcloud-auth-plugin": "gcloud",
	} {
		if err := os.Symlink(s.options.binary(program), filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	b, err := json.Marshal(map[string]string{"control": controlURL, "compute": computeURL, "project": controlplane.Project})
	if err != nil {
		return fmt.Errorf("encoding sandbox.json: %w", err)
	}
	return os.WriteFile(filepath.Join(bin, "sandbox.json"), b, 0o644)
}

func (s *sandbox) helmEnvironment() map[string]string {
	dir := filepath.Join(s.options.dir, "helm")
	return map[string]string{
		"HELM_CONFIG_HOME": filepath.Join(dir, "config"), "HELM_DATA_HOME": filepath.Join(dir, "data"), "HELM_CACHE_HOME": filepath.Join(dir, "cache"),
		"HELM_REPOSITORY_CONFIG": filepath.Join(dir, "config", "repositories.yaml"), "HELM_REPOSITORY_CACHE": filepath.Join(dir, "cache", "repository"),
	}
}

// versions are read from what was linked and from the Helm modules' builds.
func (s *sandbox) versions() map[string]string {
	out := map[string]string{"kubernetes": version.Get().GitVersion}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/GoogleCloudPlatform/gke-managed-certs" {
				out["managedCerts"] = m.Version
			}
		}
	}
	for name, program := range map[string]string{"glbc": "glbc", "helm": fmt.Sprintf("helm%d", s.options.helm), "helm3": "helm3", "helm4": "helm4"} {
		module := "k8s.io/ingress-gce"
		if strings.HasPrefix(name, "helm") {
			module = "helm.sh/helm"
		}
		if v := moduleVersion(s.options.binary(program), module); v != "" {
			out[name] = v
		}
	}
	return out
}
