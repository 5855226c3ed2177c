package nodes

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/utils/ptr"

	"sandbox/loop"
)

// podWorker runs one pod from its arrival on a node to its deletion.
type podWorker struct {
	k       *Kubelet
	node    *node
	uid     types.UID
	ip      string
	dir     string // volumes and container roots
	logs    string
	started metav1.Time

	ctx       context.Context // ends when the pod's processes have to die at once
	kill      context.CancelFunc
	deleting  chan struct{} // closed when the pod is asked to end gracefully
	dirty     chan struct{} // holds a token while the status may have changed
	finished  chan struct{} // closed when no process is left
	mountOnce sync.Mutex    // one volume refresh at a time

	mu         sync.Mutex
	pod        *corev1.Pod // newest version seen
	grace      time.Duration
	containers map[string]*container
	order      []string
	phase      corev1.PodPhase // set when terminal
	mounted    bool
	refreshing bool
}

// podChanged starts, updates or ends the worker of a pod.
func (k *Kubelet) podChanged(ctx context.Context, p *corev1.Pod) {
	n := k.nodes[p.Spec.NodeName]
	if n == nil {
		return
	}
	k.mu.Lock()
	w := k.workers[p.UID]
	if w == nil {
		over := k.over[p.UID] || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if p.DeletionTimestamp != nil || over { // deleted before it was seen, or after its end
			k.mu.Unlock()
			if p.DeletionTimestamp != nil {
				go k.remove(ctx, p)
			}
			return
		}
		ip, err := n.podAddress()
		if err != nil {
			k.mu.Unlock()
			n.recorder.Event(p, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
			return
		}
		w = &podWorker{k: k, node: n, uid: p.UID, ip: ip, started: metav1.Now(), pod: p, containers: map[string]*container{},
			dir:   filepath.Join(k.cfg.Dir, "pods", string(p.UID)),
			logs:  filepath.Join(k.cfg.Dir, "logs", "pods", p.Namespace+"_"+p.Name+"_"+string(p.UID)),
			dirty: make(chan struct{}, 1), deleting: make(chan struct{}), finished: make(chan struct{})}
		w.ctx, w.kill = context.WithCancel(ctx)
		k.workers[p.UID] = w
		k.running.Add(1)
		go w.run()
	}
	k.mu.Unlock()
	w.update(p)
}

// podGone ends what still runs of a pod that is no longer in the API.
func (k *Kubelet) podGone(uid types.UID) {
	k.mu.Lock()
	delete(k.over, uid)
	k.mu.Unlock()
	if w := k.worker(uid); w != nil {
		w.kill()
	}
}

func (k *Kubelet) worker(uid types.UID) *podWorker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.workers[uid]
}

// remove takes a pod without processes out of the API.
func (k *Kubelet) remove(ctx context.Context, p *corev1.Pod) {
	for ctx.Err() == nil {
		err := k.cfg.Kube.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &p.UID}})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		log.Printf("nodes: removing pod %s/%s: %v", p.Namespace, p.Name, err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// update takes over a newer version of the pod.
func (w *podWorker) update(p *corev1.Pod) {
	w.mu.Lock()
	w.pod = p
	if p.DeletionTimestamp != nil {
		w.grace = time.Duration(ptr.Deref(p.DeletionGracePeriodSeconds, 30)) * time.Second
		select {
		case <-w.deleting:
		default:
			close(w.deleting)
		}
	}
	w.mu.Unlock()
	w.changed()
}

// current gives the newest version of the pod.
func (w *podWorker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// changed asks for a new status.
func (w *podWorker) changed() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

// isDeleting tells whether the pod was asked to end.
func (w *podWorker) isDeleting() bool {
	select {
	case <-w.deleting:
		return true
	case <-w.ctx.Done():
		return true
	default:
		return false
	}
}

// pause waits for a delay of the real kubelet; it tells whether the pod still wants to run.
func (w *podWorker) pause(d time.Duration) bool {
	t := time.NewTimer(w.k.after(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.deleting:
	case <-w.ctx.Done():
	}
	return false
}

func (w *podWorker) event(kind, reason, format string, args ...any) {
	w.node.recorder.Eventf(w.current(), kind, reason, format, args...)
}

// containerEvent is about one container, as `kubectl get events -o wide` shows in SUBOBJECT.
func (w *podWorker) containerEvent(c *container, kind, reason, format string, args ...any) {
	p := w.current()
	field := "spec.containers{" + c.spec.Name + "}"
	if c.init {
		field = "spec.initContainers{" + c.spec.Name + "}"
	}
	w.node.recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID,
		ResourceVersion: p.ResourceVersion, FieldPath: field}, kind, reason, format, args...)
}

func (w *podWorker) run() {
	defer w.k.running.Done()
	statuses := make(chan struct{})
	go func() { defer close(statuses); w.writeStatuses() }()
	w.runContainers()
	close(w.finished)
	w.changed()
	<-statuses
	p, deleting := w.current(), w.isDeleting()
	if deleting {
		w.k.remove(w.ctx, p)
	}
	w.kill()
	w.k.mu.Lock()
	delete(w.k.workers, w.uid)
	if !deleting { // an older version of the pod may still be on its way here
		w.k.over[w.uid] = true
	}
	w.k.mu.Unlock()
	w.node.release(w.ip)
	if err := os.RemoveAll(w.dir); err != nil {
		log.Printf("nodes: clearing the volumes of pod %s/%s: %v", p.Namespace, p.Name, err)
	}
}

// runContainers returns when every container has ended for good.
func (w *podWorker) runContainers() {
	p := w.current()
	for i := range p.Spec.InitContainers {
		w.addContainer(&p.Spec.InitContainers[i], true)
	}
	for i := range p.Spec.Containers {
		w.addContainer(&p.Spec.Containers[i], false)
	}
	w.changed()
	if !w.mountVolumes() {
		w.abandonWaiting()
		return
	}
	var sidecars sync.WaitGroup
	endSidecars := make(chan struct{})
	defer func() { close(endSidecars); sidecars.Wait() }()
	for _, name := range w.order {
		c := w.containers[name]
		if !c.init {
			continue
		}
		if podutil.IsRestartableInitContainer(c.spec) {
			sidecars.Add(1)
			go func() { defer sidecars.Done(); w.runContainer(c, endSidecars) }()
			if !w.waitStarted(c) {
				w.abandonWaiting()
				return
			}
			continue
		}
		if !w.runContainer(c, nil) {
			w.abandonWaiting()
			return
		}
	}
	var all sync.WaitGroup
	for _, name := range w.order {
		if c := w.containers[name]; !c.init {
			all.Add(1)
			go func() { defer all.Done(); w.runContainer(c, nil) }()
		}
	}
	all.Wait()
}

func (w *podWorker) addContainer(spec *corev1.Container, init bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reason := "ContainerCreating"
	if len(w.pod.Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	w.containers[spec.Name] = &container{spec: spec, init: init, startedCh: make(chan struct{}),
		state: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
	w.order = append(w.order, spec.Name)
}

// waitStarted waits for a sidecar's startup probe.
func (w *podWorker) waitStarted(c *container) bool {
	select {
	case <-c.startedCh:
		return true
	case <-w.deleting:
	case <-w.ctx.Done():
	}
	return false
}

// abandonWaiting ends the containers that never ran.
func (w *podWorker) abandonWaiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.containers {
		if c.state.Waiting != nil && c.last.Terminated == nil && w.phase == "" {
			c.ready = false
		}
	}
}

// description is how the kubelet names a pod in messages (pkg/kubelet/util/format).
func description(p *corev1.Pod) string { return fmt.Sprintf("%s_%s(%s)", p.Name, p.Namespace, p.UID) }

// address is where the pod's processes listen.
func (w *podWorker) address() string { return loop.Address(w.ip) }
