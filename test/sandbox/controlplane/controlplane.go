// Package controlplane runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler inside this
// process, by their options and Run functions: their commands install signal handlers and global logging
// of their own. Global registries allow one control plane a process.
package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"sandbox/authority"
	"sandbox/gate"
)

// Config says where the control plane keeps its files and whom it asks about tokens.
type Config struct {
	Dir string
	// Authority issues the certificates of the cluster.
	Authority *authority.Authority
	// TokenWebhook is the URL of the TokenReview webhook.
	TokenWebhook string
	// Fatal is called when a component ends before ctx does.
	Fatal func(component string, err error)
	// Progress is called when a component is ready.
	Progress func(component string)
}

// Cluster is a running control plane.
type Cluster struct {
	Server   string
	AuditLog string
	// Rest and Kube are the sandbox's own access, as a member of system:masters.
	Rest *rest.Config
	Kube *kubernetes.Clientset
	// ControllerManager pauses or cuts off kube-controller-manager.
	ControllerManager *gate.Gate

	config Config
	etcd   *embed.Etcd
}

// Start returns once the API server answers /readyz. The components end with ctx; Close then ends etcd.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	c := &Cluster{config: config, ControllerManager: gate.New(), AuditLog: filepath.Join(config.Dir, "audit.log")}
	etcdURL, err := c.startEtcd()
	if err != nil {
		return nil, err
	}
	config.Progress("etcd")
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c.Server = fmt.Sprintf("https://127.0.0.1:%d", port)
	kubeconfigs := map[string]string{}
	for name, user := range map[string]authority.Request{
		"sandbox":            {CommonName: "system:sandbox", Organizations: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
	} {
		if kubeconfigs[name], err = c.Kubeconfig(name, user); err != nil {
			return nil, err
		}
	}
	if err := c.startAPIServer(ctx, etcdURL, port); err != nil {
		return nil, fmt.Errorf("starting kube-apiserver: %w", err)
	}
	if c.Rest, err = clientcmd.BuildConfigFromFlags("", kubeconfigs["sandbox"]); err != nil {
		return nil, fmt.Errorf("reading the sandbox's own kubeconfig: %w", err)
	}
	c.Rest.QPS, c.Rest.Burst = 200, 400
	c.Rest.UserAgent = "sandbox"
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if c.Kube, err = kubernetes.NewForConfig(c.Rest); err != nil {
		return nil, fmt.Errorf("making the sandbox's own client: %w", err)
	}
	if err := Wait(ctx, "kube-apiserver", 60*time.Second, func() bool {
		_, err := c.Kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		return err == nil
	}); err != nil {
		return nil, err
	}
	config.Progress("kube-apiserver")
	if err := c.startControllerManager(ctx, kubeconfigs["controller-manager"]); err != nil {
		return nil, fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	if err := c.startScheduler(ctx, kubeconfigs["scheduler"]); err != nil {
		return nil, fmt.Errorf("starting kube-scheduler: %w", err)
	}
	if err := c.authorize(ctx); err != nil {
		return nil, err
	}
	config.Progress("kube-controller-manager, kube-scheduler")
	return c, nil
}

// Close ends etcd, the last of the components.
func (c *Cluster) Close() { c.etcd.Close() }

// Wait polls a condition of a part until it holds.
func Wait(ctx context.Context, what string, limit time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w", what, limit, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (c *Cluster) startEtcd() (string, error) {
	config := embed.NewConfig()
	config.Dir = filepath.Join(c.config.Dir, "etcd")
	config.LogLevel, config.LogOutputs = "error", []string{filepath.Join(c.config.Dir, "etcd.log")}
	config.UnsafeNoFsync = true // nothing here outlives the process
	var urls [2]url.URL
	for i := range urls {
		port, err := freePort()
		if err != nil {
			return "", err
		}
		urls[i] = url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = urls[:1], urls[:1]
	config.ListenPeerUrls, config.AdvertisePeerUrls = urls[1:], urls[1:]
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	e, err := embed.StartEtcd(config)
	if err != nil {
		return "", fmt.Errorf("starting etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return "", fmt.Errorf("starting etcd: %w", err)
	case <-time.After(30 * time.Second):
		return "", fmt.Errorf("etcd is not ready after 30 s")
	}
	c.etcd = e
	return urls[0].String(), nil
}

func (c *Cluster) run(ctx context.Context, component string, run func() error) {
	go func() {
		// The scheduler reports an error on every orderly end, so only an early end counts.
		if err := run(); ctx.Err() == nil {
			c.config.Fatal(component, err)
		}
	}()
}

func parse(sets cliflag.NamedFlagSets, args ...string) error {
	all := pflag.NewFlagSet("component", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	return all.Parse(args)
}

// auditPolicy leaves out the chatter of the cluster's own components; request bodies are kept of writes,
// but never of Secrets, ConfigMaps and token reviews.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: None
    userGroups: ["system:nodes", "system:serviceaccounts"]
  - level: None
    users: ["system:apiserver", "system:sandbox", "system:kube-controller-manager", "system:kube-scheduler", "system:controller:glbc", "system:anonymous"]
  - level: Metadata
    resources:
      - {group: "", resources: ["secrets", "configmaps", "serviceaccounts/token", "pods/exec", "pods/portforward"]}
      - {group: authentication.k8s.io}
  - level: Request
    verbs: [create, update, patch, delete, deletecollection]
  - level: Metadata
`

func (c *Cluster) startAPIServer(ctx context.Context, etcdURL string, port int) error {
	a := c.config.Authority
	serving, servingKey, err := a.IssueFiles("apiserver", authority.Request{
		CommonName: "kube-apiserver", DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		Addresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("10.96.0.1")},
	})
	if err != nil {
		return err
	}
	toKubelet, toKubeletKey, err := a.IssueFiles("apiserver-kubelet", authority.Request{CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}})
	if err != nil {
		return err
	}
	serviceAccounts, err := a.WriteKey("service-accounts")
	if err != nil {
		return err
	}
	policy := filepath.Join(c.config.Dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	webhook := clientcmdapi.NewConfig()
	webhook.Clusters["tokens"] = &clientcmdapi.Cluster{Server: c.config.TokenWebhook}
	webhook.Contexts["tokens"] = &clientcmdapi.Context{Cluster: "tokens"}
	webhook.CurrentContext = "tokens"
	webhookFile := filepath.Join(c.config.Dir, "token-webhook.kubeconfig")
	if err := clientcmd.WriteToFile(*webhook, webhookFile); err != nil {
		return fmt.Errorf("writing the webhook's kubeconfig: %w", err)
	}
	options := apiserveroptions.NewServerRunOptions()
	if err := parse(options.Flags(),
		"--etcd-servers="+etcdURL, "--etcd-compaction-interval=0",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file="+serving, "--tls-private-key-file="+servingKey, "--client-ca-file="+a.Path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+serviceAccounts, "--service-account-signing-key-file="+serviceAccounts,
		"--service-cluster-ip-range=10.96.0.0/20", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true", "--profiling=false",
		// Nodes name the loopback address of their kubelet as ExternalDNS.
		"--kubelet-preferred-address-types=ExternalDNS", "--kubelet-certificate-authority="+a.Path("ca.crt"),
		"--kubelet-client-certificate="+toKubelet, "--kubelet-client-key="+toKubeletKey,
		"--audit-policy-file="+policy, "--audit-log-path="+c.AuditLog, "--audit-log-maxsize=1000",
		// An expired token must be refused at once, so answers are kept for a moment only.
		"--authentication-token-webhook-config-file="+webhookFile, "--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=200ms",
	); err != nil {
		return err
	}
	// There is no flag for the second cache, of ten seconds.
	options.Authentication.TokenSuccessCacheTTL, options.Authentication.TokenFailureCacheTTL = 200*time.Millisecond, 200*time.Millisecond
	// Once, before the options of any other component.
	if err := options.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	completed, err := options.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("options: %v", errs)
	}
	c.run(ctx, "kube-apiserver", func() error { return apiserver.Run(ctx, completed) })
	return nil
}

func (c *Cluster) startControllerManager(ctx context.Context, kubeconfig string) error {
	a := c.config.Authority
	options, err := controllermanageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	all, off, aliases := controllermanager.KnownControllers(), controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	if err := parse(options.Flags(all, off, aliases),
		"--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=true",
		"--service-account-private-key-file="+a.Path("service-accounts.key"), "--root-ca-file="+a.Path("ca.crt"),
		"--cluster-signing-cert-file="+a.Path("ca.crt"), "--cluster-signing-key-file="+a.Path("ca.key"),
		"--allocate-node-cidrs=false", "--controllers=*",
	); err != nil {
		return err
	}
	config, err := options.Config(ctx, all, off, aliases)
	if err != nil {
		return err
	}
	config.Kubeconfig.Dial = c.ControllerManager.Dial
	c.run(ctx, "kube-controller-manager", func() error { return controllermanager.Run(ctx, config.Complete()) })
	return nil
}

func (c *Cluster) startScheduler(ctx context.Context, kubeconfig string) error {
	options := scheduleroptions.NewOptions()
	if err := parse(*options.Flags, "--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0"); err != nil {
		return err
	}
	config, s, err := scheduler.Setup(ctx, options)
	if err != nil {
		return err
	}
	c.run(ctx, "kube-scheduler", func() error { return scheduler.Run(ctx, config, s) })
	return nil
}
