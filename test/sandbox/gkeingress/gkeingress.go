// Package gkeingress runs glbc of k8s.io/ingress-gce, unmodified: GKE's controllers for Ingresses, network
// endpoint groups, instance groups and firewall rules. It makes the BackendConfig, FrontendConfig and
// ServiceNetworkEndpointGroup CRDs itself.
package gkeingress

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"sandbox/child"
	"sandbox/clock"
	"sandbox/controlplane"
	"sandbox/part"
)

// Config says what glbc works on.
type Config struct {
	// Binary is the path of glbc.
	Binary string
	Dir    string
	Kube   kubernetes.Interface
	// Kubeconfig is what glbc reaches the cluster with.
	Kubeconfig string
	// Compute is host:port of the Compute API and the metadata server.
	Compute string
	Clock   *clock.Clock
	Log     *slog.Logger
}

// DefaultBackendNodePort is where the nodes serve GKE's default backend.
const DefaultBackendNodePort = 31252

// NodeTag is the network tag of all nodes, which firewall rules name.
const NodeTag = "gke-sandbox-5f3a9c1d-node"

// Controller is the child process; it is started again when it ends by itself, as GKE does.
type Controller struct {
	config  Config
	args    []string
	health  string
	logFile *os.File

	mu      sync.Mutex
	state   part.State
	process *child.Process
	closed  bool
}

// Start starts glbc; Wait tells when its controllers work.
func Start(ctx context.Context, config Config) (*Controller, error) {
	if err := createDefaultBackend(ctx, config.Kube); err != nil {
		return nil, err
	}
	file := filepath.Join(config.Dir, "gce.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, `[global]
project-id = %s
local-zone = %s
network-name = default
subnetwork-name = default
node-tags = %s
node-instance-prefix = gke-sandbox
api-endpoint = http://%s/compute/v1/
`, controlplane.Project, controlplane.Zone, NodeTag, config.Compute), 0o644); err != nil {
		return nil, fmt.Errorf("writing glbc's configuration: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("looking for a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	logFile, err := os.OpenFile(filepath.Join(config.Dir, "glbc.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening glbc's log: %w", err)
	}
	c := &Controller{config: config, logFile: logFile, state: part.Running, health: fmt.Sprintf("http://127.0.0.1:%d/healthz", port)}
	c.args = []string{
		"--running-in-cluster=false", "--kubeconfig=" + config.Kubeconfig, "--config-file-path=" + file, "--leader-elect=false",
		"--enable-v2-frontend-namer", "--enable-finalizer-add", "--enable-finalizer-remove",
		// GKE's resync is ten minutes and its collection of unused NEGs two (ingress-gce pkg/flags/flags.go).
		fmt.Sprintf("--sync-period=%s", config.Clock.Scale(10*time.Minute, 3*time.Second)),
		fmt.Sprintf("--neg-gc-period=%s", config.Clock.Scale(2*time.Minute, 5*time.Second)),
		"--gce-operation-poll-interval=100ms", "--gce-ratelimit=ga.Operations.Get,qps,1000,1000",
		"--kube-client-qps=100", "--kube-client-burst=200", fmt.Sprintf("--healthz-port=%d", port), "--v=2", "--logtostderr=true",
	}
	if err := c.run(); err != nil {
		return nil, err
	}
	return c, nil
}

// Wait returns once glbc reports its controllers as healthy.
func (c *Controller) Wait(ctx context.Context) error {
	return controlplane.Wait(ctx, "glbc", 60*time.Second, c.healthy)
}

// createDefaultBackend makes the Service that GKE's add-on manager makes; the nodes answer on its node port.
func createDefaultBackend(ctx context.Context, kube kubernetes.Interface) error {
	_, err := kube.CoreV1().Services("kube-system").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "default-http-backend", Namespace: "kube-system", Labels: map[string]string{"k8s-app": "glbc"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"k8s-app": "glbc"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: DefaultBackendNodePort}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating the default backend's Service: %w", err)
	}
	return nil
}

func (c *Controller) healthy() bool {
	response, err := http.Get(c.health)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return err == nil && response.StatusCode == http.StatusOK && strings.Contains(string(text), "ingress") && strings.Contains(string(text), "neg-controller")
}

// run starts the process; the caller holds the mutex or is alone.
func (c *Controller) run() error {
	cmd := exec.Command(c.config.Binary, c.args...)
	cmd.Env = append(os.Environ(), "GCE_METADATA_HOST="+c.config.Compute)
	cmd.Stdout, cmd.Stderr = c.logFile, c.logFile
	p, err := child.Start(cmd)
	if err != nil {
		return err
	}
	c.process = p
	go func() {
		<-p.Done()
		c.config.Log.Info("glbc ended", "pid", p.Pid(), "error", fmt.Sprint(p.Err()))
		time.Sleep(time.Second) // a crash loop must not take the machine
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.process == p && c.state == part.Running && !c.closed {
			if err := c.run(); err != nil {
				c.config.Log.Error("starting glbc again", "error", err.Error())
			}
		}
	}()
	return nil
}

// SetState stops (SIGSTOP) or kills (SIGKILL) the process, or runs it again.
func (c *Controller) SetState(state part.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.state
	c.state = state
	ended := false
	select {
	case <-c.process.Done():
		ended = true
	default:
	}
	switch {
	case state == part.Killed && !ended:
		if err := c.process.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		<-c.process.Done()
	case state == part.Running && ended:
		return c.run()
	case state == part.Running && before == part.Paused:
		return c.process.Signal(syscall.SIGCONT)
	case state == part.Paused && ended:
		if err := c.run(); err != nil {
			return err
		}
		return c.process.Signal(syscall.SIGSTOP)
	case state == part.Paused:
		return c.process.Signal(syscall.SIGSTOP)
	}
	return nil
}

// Close ends the process for good.
func (c *Controller) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	_ = c.process.Signal(syscall.SIGKILL)
	<-c.process.Done()
	_ = c.logFile.Close()
}
