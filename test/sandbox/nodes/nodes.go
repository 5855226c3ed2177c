// Package nodes plays the nodes of a GKE cluster: two Node objects, a kubelet behind each, and the
// containers of the pods scheduled there as real processes of this machine.
//
// What the kubelet has as a library is used as it is (k8s.io/kubernetes pkg/probe, pkg/volume,
// pkg/kubelet/status, k8s.io/cri-client/pkg/logs, k8s.io/cri-streaming). Left out are what needs a
// kernel of its own: mount namespaces, cgroups, images. An image name selects what runs (images.go),
// a container's volumes are laid out below a folder that the process gets as SANDBOX_ROOT, and pods
// show addresses of 10.0.0.0/8 while their processes listen on the matching loopback address
// (package loop).
package nodes

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"sandbox/loop"
	"sandbox/milvus/store"
)

// kubeletPort is where a kubelet serves logs, exec and port-forward.
const kubeletPort = 10250

// defaultBackendPort is the node port of kube-system/default-http-backend, GKE's backend for
// requests that no rule matches.
const defaultBackendPort = 31252

// heartbeatPeriod is how often a node renews its Lease. The node controller calls a node unknown
// after 40 s without.
const heartbeatPeriod = 10 * time.Second

// Config is what the nodes need from the sandbox around them.
type Config struct {
	// Kube is a client with the rights of an administrator.
	Kube kubernetes.Interface
	// Issue gives a certificate of the cluster's authority as two PEM files.
	Issue func(name, cn string, orgs, dns []string, ips []net.IP) (certFile, keyFile string, err error)
	// Dir holds the pods' volumes and logs and the data of the Milvus stores.
	Dir string
	// Speed divides every delay of the kubelet: probes, back-off, grace periods, volume refresh.
	Speed func() float64
	// Net tells parallel sandboxes apart: pods get 10.(8+Net).x.y, nodes 10.(128+Net).0.x.
	Net int
	// Project, Region and Zone name where the nodes are, in Google Cloud's terms.
	Project, Region, Zone string
	// Binary gives the path of one of the sandbox's own programs.
	Binary func(name string) string
	// AddInstance makes the Compute instance behind a node.
	AddInstance func(ctx context.Context, name, ip, podCIDR string) error
	// Control is the address of the sandbox's control endpoint; processes get it as SANDBOX_CONTROL.
	Control string
	// Cache is the folder with the Python environment that holds Milvus Lite.
	Cache string
}

// node is one of the two nodes.
type node struct {
	name, ip, cidr string
	recorder       record.EventRecorder

	mu   sync.Mutex
	used map[string]bool // pod addresses in use
	next int
}

// Kubelet runs the pods of all nodes.
type Kubelet struct {
	cfg        Config
	nodes      map[string]*node
	names      []string
	started    time.Time
	pods       cache.Indexer
	configMaps corelisters.ConfigMapLister
	secrets    corelisters.SecretLister
	spawn      *spawner
	stores     string // address of the endpoint that starts Milvus stores
	pathDir    string // folder on every container's PATH

	mu      sync.Mutex
	workers map[types.UID]*podWorker
	over    map[types.UID]bool // pods that have ended and are still in the API
	running sync.WaitGroup
}

// NodeIP gives the internal address of a node, empty when there is none of that name.
func (k *Kubelet) NodeIP(name string) string {
	if n := k.nodes[name]; n != nil {
		return n.ip
	}
	return ""
}

// Wait returns when, after the end of the context given to Start, the last container has ended.
func (k *Kubelet) Wait() { k.running.Wait() }

// Start makes the nodes and runs their pods until ctx ends; every process dies then.
// It returns when both nodes are Ready.
func Start(ctx context.Context, cfg Config) (*Kubelet, error) {
	k := &Kubelet{cfg: cfg, nodes: map[string]*node{}, started: time.Now(), workers: map[types.UID]*podWorker{}, over: map[types.UID]bool{}, spawn: newSpawner()}
	if cfg.Speed == nil {
		k.cfg.Speed = func() float64 { return 1 }
	}
	if err := k.preparePath(); err != nil {
		return nil, err
	}
	stores, err := store.Serve(ctx, store.Config{Dir: filepath.Join(cfg.Dir, "milvus"), Python: filepath.Join(cfg.Cache, "python"), Start: k.spawn.start, Components: k.components})
	if err != nil {
		return nil, err
	}
	k.stores = stores

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: cfg.Kube.CoreV1().Events("")})
	context.AfterFunc(ctx, broadcaster.Shutdown)
	for i := range 2 {
		n := &node{
			name: fmt.Sprintf("gke-sandbox-default-pool-5f3a9c1d-%04d", i),
			ip:   fmt.Sprintf("10.%d.0.%d", 128+cfg.Net, i+2),
			cidr: fmt.Sprintf("10.%d.%d.0/24", 8+cfg.Net, i),
			used: map[string]bool{},
		}
		n.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: n.name})
		k.nodes[n.name], k.names = n, append(k.names, n.name)
		if err := k.addNode(ctx, n); err != nil {
			return nil, err
		}
	}
	go k.heartbeats(ctx)
	return k, k.watch(ctx)
}

// addNode makes the Node and its instance, and serves what listens on the node's address.
func (k *Kubelet) addNode(ctx context.Context, n *node) error {
	if k.cfg.AddInstance != nil {
		if err := k.cfg.AddInstance(ctx, n.name, n.ip, n.cidr); err != nil {
			return fmt.Errorf("adding the Compute instance of node %s: %w", n.name, err)
		}
	}
	if err := k.serveAPI(ctx, n); err != nil {
		return fmt.Errorf("serving the kubelet API of node %s: %w", n.name, err)
	}
	if err := serveDefaultBackend(ctx, n); err != nil {
		return fmt.Errorf("serving the default backend on node %s: %w", n.name, err)
	}
	obj := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{
			"kubernetes.io/hostname": n.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
			"topology.kubernetes.io/region": k.cfg.Region, "topology.kubernetes.io/zone": k.cfg.Zone,
			"failure-domain.beta.kubernetes.io/region": k.cfg.Region, "failure-domain.beta.kubernetes.io/zone": k.cfg.Zone,
			"node.kubernetes.io/instance-type": "e2-standard-4", "cloud.google.com/gke-nodepool": "default-pool",
			"cloud.google.com/gke-container-runtime": "containerd", "cloud.google.com/gke-os-distribution": "cos"}},
		// the strict form: ingress-gce refuses a provider ID without project and zone
		Spec: corev1.NodeSpec{ProviderID: "gce://" + k.cfg.Project + "/" + k.cfg.Zone + "/" + n.name, PodCIDR: n.cidr, PodCIDRs: []string{n.cidr}},
	}
	if _, err := k.cfg.Kube.CoreV1().Nodes().Create(ctx, obj, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating node %s: %w", n.name, err)
	}
	if err := k.reportNode(ctx, n); err != nil {
		return fmt.Errorf("reporting the status of node %s: %w", n.name, err)
	}
	return k.renewLease(ctx, n)
}

// reportNode writes the status of a Ready node.
func (k *Kubelet) reportNode(ctx context.Context, n *node) error {
	obj, err := k.cfg.Kube.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now, since := metav1.Now(), metav1.NewTime(k.started)
	obj.Status.Conditions = nil
	for _, c := range []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, Reason: "RouteCreated", Message: "NodeController create implicit route"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = now, since
		obj.Status.Conditions = append(obj.Status.Conditions, c)
	}
	capacity := corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("16Gi"), "pods": resource.MustParse("110"), "ephemeral-storage": resource.MustParse("90Gi")}
	obj.Status.Capacity, obj.Status.Allocatable = capacity, capacity
	obj.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: n.ip},
		{Type: corev1.NodeHostName, Address: n.name},
		{Type: corev1.NodeExternalDNS, Address: loop.Address(n.ip)}, // where the API server reaches this kubelet
	}
	obj.Status.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	obj.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.36.3-gke.1000000", OSImage: "Container-Optimized OS from Google",
		OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "containerd://2.1.0", KernelVersion: "6.6.0"}
	_, err = k.cfg.Kube.CoreV1().Nodes().UpdateStatus(ctx, obj, metav1.UpdateOptions{})
	return err
}

func (k *Kubelet) heartbeats(ctx context.Context) {
	tick := time.NewTicker(heartbeatPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, n := range k.nodes {
			if err := k.renewLease(ctx, n); err != nil && ctx.Err() == nil {
				log.Printf("nodes: renewing the lease of %s: %v", n.name, err)
			}
		}
	}
}

// renewLease is a node's sign of life; like the kubelet's, it is cheaper than a status update.
func (k *Kubelet) renewLease(ctx context.Context, n *node) error {
	leases := k.cfg.Kube.CoordinationV1().Leases("kube-node-lease")
	now := metav1.NewMicroTime(time.Now())
	lease, err := leases.Get(ctx, n.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: "kube-node-lease"},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: ptr.To[int32](40), RenewTime: &now}}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// watch follows the pods of the nodes and the ConfigMaps and Secrets they may use.
func (k *Kubelet) watch(ctx context.Context) error {
	scheduled := informers.NewSharedInformerFactoryWithOptions(k.cfg.Kube, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	}))
	pods := scheduled.Core().V1().Pods().Informer()
	k.pods = pods.GetIndexer()
	others := informers.NewSharedInformerFactory(k.cfg.Kube, 0)
	k.configMaps, k.secrets = others.Core().V1().ConfigMaps().Lister(), others.Core().V1().Secrets().Lister()

	changed := func(kind string) cache.ResourceEventHandlerFuncs {
		handle := func(o any) {
			if m, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
				k.sourceChanged(kind, m)
			}
		}
		return cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(old, o any) {
			if old.(metav1.Object).GetResourceVersion() != o.(metav1.Object).GetResourceVersion() {
				handle(o)
			}
		}}
	}
	if _, err := others.Core().V1().ConfigMaps().Informer().AddEventHandler(changed("ConfigMap")); err != nil {
		return err
	}
	if _, err := others.Core().V1().Secrets().Informer().AddEventHandler(changed("Secret")); err != nil {
		return err
	}
	others.Start(ctx.Done())
	others.WaitForCacheSync(ctx.Done())
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.podChanged(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { k.podChanged(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			if p, ok := o.(*corev1.Pod); ok {
				k.podGone(p.UID)
			}
		},
	}); err != nil {
		return err
	}
	scheduled.Start(ctx.Done())
	scheduled.WaitForCacheSync(ctx.Done())
	return ctx.Err()
}

// after gives how long a delay of the real kubelet takes here.
func (k *Kubelet) after(d time.Duration) time.Duration {
	return time.Duration(float64(d) / max(k.cfg.Speed(), 0.01))
}

// podAddress reserves an address of the node's range.
func (n *node) podAddress() (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, block, err := net.ParseCIDR(n.cidr)
	if err != nil {
		return "", err
	}
	base := block.IP.To4()
	for range 253 {
		n.next = n.next%253 + 1
		ip := fmt.Sprintf("%d.%d.%d.%d", base[0], base[1], base[2], n.next+1)
		if !n.used[ip] {
			n.used[ip] = true
			return ip, nil
		}
	}
	return "", fmt.Errorf("no address left in %s", n.cidr)
}

func (n *node) release(ip string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, ip)
}

// serveDefaultBackend answers as GKE's default-http-backend does
// (kubernetes/ingress-gce cmd/404-server/server.go).
func serveDefaultBackend(ctx context.Context, n *node) error {
	l, err := net.Listen("tcp", net.JoinHostPort(loop.Address(n.ip), fmt.Sprint(defaultBackendPort)))
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			fmt.Fprint(w, "ok")
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "response 404 (backend NotFound), service rules for the path non-existent \n")
	})}
	go s.Serve(l)
	context.AfterFunc(ctx, func() { s.Close() })
	return nil
}

// preparePath makes the folder that gives containers the sandbox's own programs by name.
func (k *Kubelet) preparePath() error {
	k.pathDir = filepath.Join(k.cfg.Dir, "path")
	if err := os.MkdirAll(k.pathDir, 0o755); err != nil {
		return fmt.Errorf("making the folder of container programs: %w", err)
	}
	link := filepath.Join(k.pathDir, "milvus")
	if err := os.Symlink(k.cfg.Binary("milvus"), link); err != nil && !os.IsExist(err) {
		return fmt.Errorf("linking the milvus program: %w", err)
	}
	return nil
}
