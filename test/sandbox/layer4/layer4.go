// Package layer4 gives Services of type LoadBalancer an address and forwards TCP to their ready
// pods, as a passthrough network load balancer with kube-proxy behind it does.
//
// When a Service gets and loses its load balancer, with finalizer, status and events, is decided by
// Kubernetes' own service controller (k8s.io/cloud-provider/controllers/service), unmodified; this
// package is the cloud behind it.
package layer4

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	cloudprovider "k8s.io/cloud-provider"
	servicecontroller "k8s.io/cloud-provider/controllers/service"
	"k8s.io/component-base/featuregate"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"
	"k8s.io/utils/ptr"

	"sandbox/loop"
)

const (
	// drain is how long connections of a load balancer that is taken away may go on.
	drain = 2 * time.Second
	// dialTimeout is how long a client waits for a pod that does not answer.
	dialTimeout = 10 * time.Second
	workers     = 2
)

// Config is what the load balancers need from the sandbox.
type Config struct {
	// Kube is a client with the rights of an administrator.
	Kube kubernetes.Interface
	// Net tells parallel sandboxes apart: addresses are 127.(60+Net).0.N.
	Net int
	// Log gets one line for each connection that could not be forwarded, and for each address given.
	Log *log.Logger
}

// Start follows the Services until ctx ends. It returns when it has seen those that exist.
func Start(ctx context.Context, cfg Config) error {
	factory := informers.NewSharedInformerFactory(cfg.Kube, 0)
	slices := factory.Discovery().V1().EndpointSlices()
	c := &cloud{ctx: ctx, cfg: cfg, slices: slices.Lister(), balancers: map[types.UID]*balancer{}}
	sync := func(o any) {
		if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = unknown.Obj
		}
		if s, ok := o.(*discoveryv1.EndpointSlice); ok {
			c.endpointsChanged(s.Namespace, s.Labels[discoveryv1.LabelServiceName])
		}
	}
	if _, err := slices.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: sync, UpdateFunc: func(_, o any) { sync(o) }, DeleteFunc: sync}); err != nil {
		return fmt.Errorf("following EndpointSlices: %w", err)
	}
	controller, err := servicecontroller.New(c, cfg.Kube, factory.Core().V1().Services(), factory.Core().V1().Nodes(), "sandbox", featuregate.NewFeatureGate())
	if err != nil {
		return fmt.Errorf("making the service controller: %w", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go controller.Run(ctx, workers, controllersmetrics.NewControllerManagerMetrics("service-controller"))
	context.AfterFunc(ctx, c.close)
	return ctx.Err()
}

// cloud is the cloud provider behind the service controller.
type cloud struct {
	ctx    context.Context
	cfg    Config
	slices discoverylisters.EndpointSliceLister

	mu        sync.Mutex
	balancers map[types.UID]*balancer
}

// The cloud has load balancers and nothing else.
var _ cloudprovider.Interface = (*cloud)(nil)

func (c *cloud) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}
func (c *cloud) LoadBalancer() (cloudprovider.LoadBalancer, bool)                  { return c, true }
func (c *cloud) Instances() (cloudprovider.Instances, bool)                        { return nil, false }
func (c *cloud) InstancesV2() (cloudprovider.InstancesV2, bool)                    { return nil, false }
func (c *cloud) Zones() (cloudprovider.Zones, bool)                                { return nil, false }
func (c *cloud) Clusters() (cloudprovider.Clusters, bool)                          { return nil, false }
func (c *cloud) Routes() (cloudprovider.Routes, bool)                              { return nil, false }
func (c *cloud) ProviderName() string                                              { return "gce" }
func (c *cloud) HasClusterID() bool                                                { return true }

// GetLoadBalancerName gives the name of the forwarding rule, as on Google Cloud.
func (c *cloud) GetLoadBalancerName(_ context.Context, _ string, s *corev1.Service) string {
	return cloudprovider.DefaultLoadBalancerName(s)
}

// GetLoadBalancer gives the status of a Service's load balancer and whether there is one.
func (c *cloud) GetLoadBalancer(_ context.Context, _ string, s *corev1.Service) (*corev1.LoadBalancerStatus, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.balancers[s.UID]
	if b == nil {
		return nil, false, nil
	}
	return b.status(), true, nil
}

// EnsureLoadBalancer makes or changes the load balancer of a Service.
func (c *cloud) EnsureLoadBalancer(_ context.Context, _ string, s *corev1.Service, _ []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	c.mu.Lock()
	b := c.balancers[s.UID]
	if b == nil {
		ip, err := c.freeAddress()
		if err != nil {
			c.mu.Unlock()
			return nil, err
		}
		b = &balancer{cloud: c, ip: ip, listeners: map[int32]net.Listener{}, connections: map[net.Conn]bool{}}
		c.balancers[s.UID] = b
		c.cfg.Log.Printf("layer4: %s/%s has %s", s.Namespace, s.Name, ip)
	}
	c.mu.Unlock()
	b.mu.Lock()
	b.service = s.DeepCopy()
	b.mu.Unlock()
	return b.status(), b.sync()
}

// UpdateLoadBalancer is called when the nodes change; forwarding goes to pods, so there is nothing to do.
func (c *cloud) UpdateLoadBalancer(context.Context, string, *corev1.Service, []*corev1.Node) error {
	return nil
}

// EnsureLoadBalancerDeleted takes the load balancer of a Service away.
func (c *cloud) EnsureLoadBalancerDeleted(_ context.Context, _ string, s *corev1.Service) error {
	c.mu.Lock()
	b := c.balancers[s.UID]
	delete(c.balancers, s.UID)
	c.mu.Unlock()
	if b != nil {
		c.cfg.Log.Printf("layer4: %s/%s loses %s", s.Namespace, s.Name, b.ip)
		b.close()
	}
	return nil
}

// freeAddress gives the first free address; the mutex is held.
func (c *cloud) freeAddress() (string, error) {
	used := map[string]bool{}
	for _, b := range c.balancers {
		used[b.ip] = true
	}
	for n := 1; n < 255; n++ {
		if ip := fmt.Sprintf("127.%d.0.%d", 60+c.cfg.Net, n); !used[ip] {
			return ip, nil
		}
	}
	return "", fmt.Errorf("no Layer-4 address left in 127.%d.0.0/24", 60+c.cfg.Net)
}

func (c *cloud) endpointsChanged(namespace, service string) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.balancers))
	c.mu.Unlock()
	for _, b := range all {
		b.mu.Lock()
		same := b.service != nil && b.service.Namespace == namespace && b.service.Name == service
		b.mu.Unlock()
		if same {
			if err := b.sync(); err != nil {
				c.cfg.Log.Printf("layer4: %s/%s: %v", namespace, service, err)
			}
		}
	}
}

func (c *cloud) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.balancers {
		b.closeNow()
	}
}

// balancer is one address with its ports.
type balancer struct {
	cloud *cloud
	ip    string

	mu          sync.Mutex
	service     *corev1.Service
	closed      bool
	turn        int
	listeners   map[int32]net.Listener
	connections map[net.Conn]bool
}

func (b *balancer) status() *corev1.LoadBalancerStatus {
	return &corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: b.ip, IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}}}
}

// sync opens the ports that have a ready endpoint and closes all others, so that a client of a
// Service without endpoints is refused, as by kube-proxy.
func (b *balancer) sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	wanted := map[int32]bool{}
	for _, port := range b.service.Spec.Ports {
		if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
			continue
		}
		endpoints, err := b.endpoints(port)
		if err != nil {
			return err
		}
		if len(endpoints) == 0 {
			continue
		}
		wanted[port.Port] = true
		if b.listeners[port.Port] != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(b.ip, fmt.Sprint(port.Port)))
		if err != nil {
			return fmt.Errorf("opening the load balancer's port: %w", err)
		}
		b.listeners[port.Port] = l
		go b.accept(l, port.Port)
	}
	for port, l := range b.listeners {
		if !wanted[port] {
			l.Close()
			delete(b.listeners, port)
		}
	}
	return nil
}

// endpoints gives where connections to a port go: ready pods, or those that still serve while they
// end when there are no others (kube-proxy, KEP-1669).
func (b *balancer) endpoints(port corev1.ServicePort) ([]string, error) {
	found, err := b.cloud.slices.EndpointSlices(b.service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: b.service.Name}))
	if err != nil {
		return nil, err
	}
	var ready, ending []string
	for _, s := range found {
		if s.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, p := range s.Ports {
			if ptr.Deref(p.Name, "") != port.Name || p.Port == nil {
				continue
			}
			for _, e := range s.Endpoints {
				for _, ip := range e.Addresses {
					address := net.JoinHostPort(loop.Address(ip), fmt.Sprint(*p.Port))
					switch {
					case ptr.Deref(e.Conditions.Ready, true):
						ready = append(ready, address)
					case ptr.Deref(e.Conditions.Serving, false) && ptr.Deref(e.Conditions.Terminating, false):
						ending = append(ending, address)
					}
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = ending
	}
	slices.Sort(ready)
	return ready, nil
}

func (b *balancer) accept(l net.Listener, port int32) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go b.forward(conn.(*net.TCPConn), port)
	}
}

// next gives the endpoint for a new connection, in turn.
func (b *balancer) next(port int32) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.service.Spec.Ports {
		if p.Port == port {
			endpoints, err := b.endpoints(p)
			if err != nil {
				return "", err
			}
			if len(endpoints) == 0 {
				break
			}
			b.turn++
			return endpoints[b.turn%len(endpoints)], nil
		}
	}
	return "", fmt.Errorf("no endpoint for port %d", port)
}

// forward copies between a client and a pod; a pod that refuses makes a reset, as with kube-proxy.
func (b *balancer) forward(client *net.TCPConn, port int32) {
	defer client.Close()
	address, err := b.next(port)
	var pod net.Conn
	if err == nil {
		d := net.Dialer{Timeout: dialTimeout}
		pod, err = d.DialContext(b.cloud.ctx, "tcp", address)
	}
	if err != nil {
		b.cloud.cfg.Log.Printf("layer4: %s:%d: %v", b.ip, port, err)
		client.SetLinger(0)
		return
	}
	defer pod.Close()
	if !b.track(client, pod) {
		return
	}
	defer b.forget(client, pod)
	up := make(chan struct{})
	go func() {
		defer close(up)
		pipe(pod.(*net.TCPConn), client)
	}()
	pipe(client, pod.(*net.TCPConn))
	<-up
}

// pipe copies one direction; a broken connection breaks the other side too.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

func (b *balancer) track(conns ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		b.connections[c] = true
	}
	return !b.closed
}

func (b *balancer) forget(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		delete(b.connections, c)
	}
}

// close refuses new connections at once and cuts the others after the drain.
func (b *balancer) close() {
	b.mu.Lock()
	b.closed = true
	for _, l := range b.listeners {
		l.Close()
	}
	b.mu.Unlock()
	time.AfterFunc(drain, b.closeNow)
}

func (b *balancer) closeNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, l := range b.listeners {
		l.Close()
	}
	for c := range b.connections {
		c.Close()
	}
}
