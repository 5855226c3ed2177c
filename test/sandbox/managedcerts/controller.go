// Package managedcerts runs GoogleCloudPlatform/gke-managed-certs, unmodified, inside this process, and the
// issuer behind Google-managed certificates, which is the sandbox's own.
package managedcerts

import (
	"context"
	_ "embed" // the CRD
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	clientset "github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clientgen/clientset/versioned"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients/configmap"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients/event"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients/ingress"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients/managedcertificate"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/clients/ssl"
	mcrtconfig "github.com/GoogleCloudPlatform/gke-managed-certs/pkg/config"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/controller"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/controller/liveness"
	"github.com/GoogleCloudPlatform/gke-managed-certs/pkg/flags"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"sandbox/clock"
	"sandbox/controlplane"
	"sandbox/gate"
	"sandbox/part"
)

// definition is deploy/managedcertificates-crd.yaml of gke-managed-certs v1.2.12.
//
//go:embed crd/managedcertificates-crd.yaml
var definition []byte

// ControllerConfig says what the controller works on.
type ControllerConfig struct {
	Dir  string
	Rest *rest.Config
	// Compute is host:port of the Compute API.
	Compute string
	Clock   *clock.Clock
	Log     *slog.Logger
}

// Controller is the managed-certificate controller.
type Controller struct {
	config ControllerConfig
	rest   *rest.Config
	gate   *gate.Gate
}

// toCompute sends every request to the stand-in, whatever host it names.
type toCompute struct {
	address string
	inner   http.RoundTripper
}

func (t toCompute) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", t.address
	return t.inner.RoundTrip(r)
}

// StartController creates the CRD and runs the controller until ctx ends.
func StartController(ctx context.Context, config ControllerConfig) (*Controller, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(definition, &crd); err != nil {
		return nil, fmt.Errorf("reading the ManagedCertificate CRD: %w", err)
	}
	definitions, err := apiextensions.NewForConfig(config.Rest)
	if err != nil {
		return nil, fmt.Errorf("making a client for CRDs: %w", err)
	}
	if _, err := definitions.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, &crd, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("creating the ManagedCertificate CRD: %w", err)
	}
	c := &Controller{config: config, rest: rest.CopyConfig(config.Rest), gate: gate.New()}
	c.rest.Dial = c.gate.Dial
	certificates, err := clientset.NewForConfig(config.Rest)
	if err != nil {
		return nil, fmt.Errorf("making a client for ManagedCertificates: %w", err)
	}
	if err := controlplane.Wait(ctx, "the ManagedCertificate CRD", 20*time.Second, func() bool {
		_, err := certificates.NetworkingV1().ManagedCertificates("default").List(ctx, metav1.ListOptions{})
		return err == nil
	}); err != nil {
		return nil, err
	}
	return c, c.run(ctx)
}

func (c *Controller) run(ctx context.Context) error {
	file := filepath.Join(c.config.Dir, "managed-certificates.conf")
	if err := os.WriteFile(file, []byte("[global]\nproject-id = "+controlplane.Project+"\ntoken-url = none\ntoken-body = none\n"), 0o644); err != nil {
		return fmt.Errorf("writing the managed-certificate controller's configuration: %w", err)
	}
	config, err := mcrtconfig.New(ctx, file, "")
	if err != nil {
		return fmt.Errorf("reading the managed-certificate controller's configuration: %w", err)
	}
	transport := toCompute{c.config.Compute, &http.Transport{DialContext: c.gate.Dial}}
	certificates, err := ssl.New(&http.Client{Transport: transport, Timeout: config.Compute.Timeout}, controlplane.Project)
	if err != nil {
		return fmt.Errorf("making the managed-certificate controller's Compute client: %w", err)
	}
	kube, err := kubernetes.NewForConfig(c.rest)
	if err != nil {
		return fmt.Errorf("making the managed-certificate controller's client: %w", err)
	}
	custom, err := clientset.NewForConfig(c.rest)
	if err != nil {
		return fmt.Errorf("making the managed-certificate controller's client: %w", err)
	}
	events, err := event.New(kube)
	if err != nil {
		return fmt.Errorf("making the managed-certificate controller's event recorder: %w", err)
	}
	// Ten minutes on GKE (gke-managed-certs pkg/flags/flags.go).
	flags.F.ResyncInterval, flags.F.PrometheusAddress = c.config.Clock.Scale(10*time.Minute, time.Second), "127.0.0.1:0"
	params := controller.NewParams(ctx, &clients.Clients{
		ConfigMap: configmap.New(c.rest), Coordination: kube.CoordinationV1(), Core: kube.CoreV1(), Event: events,
		Ingress: ingress.New(kube), ManagedCertificate: managedcertificate.New(custom), Ssl: certificates,
	}, config, liveness.NewHealthCheck(5*time.Second, time.Hour, time.Hour))
	go func() {
		if err := controller.New(ctx, params).Run(ctx); err != nil && ctx.Err() == nil {
			c.config.Log.Error("the managed-certificate controller ended", "error", err.Error())
		}
	}()
	return nil
}

// SetState lets the controller stand still or cuts it off from the cluster and from Compute. It is never
// ended: it registers its metrics in this process once for all.
func (c *Controller) SetState(state part.State) error { return c.gate.SetState(state) }
