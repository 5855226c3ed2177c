package nodes

import (
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	kubestatus "k8s.io/kubernetes/pkg/kubelet/status"
	statusutil "k8s.io/kubernetes/pkg/util/pod"
	"k8s.io/utils/ptr"
)

// statusDelay gathers changes that come together into one write.
const statusDelay = 20 * time.Millisecond

// writeStatuses keeps the pod's status in the API equal to what runs, until the pod has finished
// and the final status is written.
func (w *podWorker) writeStatuses() {
	for {
		final := false
		select {
		case <-w.dirty:
		case <-w.finished:
			final = true
		case <-w.ctx.Done():
			return
		}
		if !final {
			select {
			case <-time.After(statusDelay):
			case <-w.finished:
				final = true
			case <-w.ctx.Done():
				return
			}
			select { // what came meanwhile is in this write
			case <-w.dirty:
			default:
			}
		}
		if err := w.writeStatus(); err != nil {
			if apierrors.IsNotFound(err) || w.ctx.Err() != nil {
				if final {
					return
				}
				continue
			}
			p := w.current()
			log.Printf("nodes: writing the status of pod %s/%s: %v", p.Namespace, p.Name, err)
			select {
			case <-time.After(time.Second):
			case <-w.ctx.Done():
				return
			}
			w.changed()
			continue
		}
		if final {
			return
		}
	}
}

func (w *podWorker) writeStatus() error {
	p := w.current()
	next := w.status(p)
	if equality.Semantic.DeepEqual(p.Status, *next) {
		return nil
	}
	updated, _, unchanged, err := statusutil.PatchPodStatus(w.ctx, w.k.cfg.Kube, p.Namespace, p.Name, p.UID, p.Status, *next)
	if err != nil || unchanged {
		return err
	}
	w.mu.Lock()
	if w.pod.ResourceVersion == p.ResourceVersion { // else a newer one came by watch
		w.pod = updated
	}
	w.mu.Unlock()
	return nil
}

// status builds the status of the pod from what runs, by the kubelet's own rules.
func (w *podWorker) status(p *corev1.Pod) *corev1.PodStatus {
	next := p.Status.DeepCopy()
	next.HostIP, next.HostIPs = w.node.ip, []corev1.HostIP{{IP: w.node.ip}}
	next.PodIP, next.PodIPs = w.ip, []corev1.PodIP{{IP: w.ip}}
	if next.StartTime == nil {
		next.StartTime = &w.started
	}
	next.ObservedGeneration = p.Generation
	w.mu.Lock()
	next.InitContainerStatuses, next.ContainerStatuses = nil, nil
	for _, name := range w.order {
		c := w.containers[name]
		s := corev1.ContainerStatus{Name: name, Image: c.spec.Image, ContainerID: c.id, Ready: c.ready, Started: ptr.To(c.started),
			RestartCount: c.restarts, State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy()}
		if c.id != "" {
			s.ImageID = "docker.io/" + c.spec.Image
		}
		if c.init {
			next.InitContainerStatuses = append(next.InitContainerStatuses, s)
		} else {
			next.ContainerStatuses = append(next.ContainerStatuses, s)
		}
	}
	mounted := w.mounted
	w.mu.Unlock()

	next.Phase = phase(p, next)
	all := append(append([]corev1.ContainerStatus{}, next.InitContainerStatuses...), next.ContainerStatuses...)
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse,
		ObservedGeneration: podutil.CalculatePodConditionObservedGeneration(&p.Status, p.Generation, corev1.PodReadyToStartContainers)}
	if mounted && next.Phase != corev1.PodSucceeded && next.Phase != corev1.PodFailed {
		sandbox.Status = corev1.ConditionTrue
	}
	for _, c := range []corev1.PodCondition{
		sandbox,
		kubestatus.GeneratePodInitializedCondition(p, &p.Status, all, next.Phase),
		kubestatus.GeneratePodReadyCondition(p, &p.Status, next.Conditions, all, next.Phase),
		kubestatus.GenerateContainersReadyCondition(p, &p.Status, all, next.Phase),
	} {
		c.LastTransitionTime = metav1.Now()
		if _, old := podutil.GetPodConditionFromList(p.Status.Conditions, c.Type); old != nil && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		setCondition(next, c)
	}
	return next
}

func setCondition(s *corev1.PodStatus, c corev1.PodCondition) {
	for i := range s.Conditions {
		if s.Conditions[i].Type == c.Type {
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// phase is the kubelet's getPhase (pkg/kubelet/kubelet_pods.go), which is not exported.
func phase(p *corev1.Pod, s *corev1.PodStatus) corev1.PodPhase {
	pendingInit := 0
	for i, c := range s.InitContainerStatuses {
		if podutil.IsRestartableInitContainer(&p.Spec.InitContainers[i]) {
			if !ptr.Deref(c.Started, false) && c.State.Terminated == nil {
				pendingInit++
			}
			continue
		}
		switch {
		case c.State.Terminated != nil:
			if c.State.Terminated.ExitCode != 0 {
				if p.Spec.RestartPolicy == corev1.RestartPolicyNever {
					return corev1.PodFailed
				}
				pendingInit++
			}
		case c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
			if c.LastTerminationState.Terminated.ExitCode != 0 {
				pendingInit++
			}
		default:
			pendingInit++
		}
	}
	running, waiting, stopped, succeeded := 0, 0, 0, 0
	for _, c := range s.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			running++
		case c.State.Terminated != nil:
			stopped++
			if c.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case c.LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	deleted := p.DeletionTimestamp != nil
	switch {
	case pendingInit > 0 || waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case stopped == 0:
		return corev1.PodPending
	case deleted && stopped == succeeded:
		return corev1.PodSucceeded
	case deleted:
		return corev1.PodFailed
	case p.Spec.RestartPolicy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	case p.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	}
	return corev1.PodRunning
}
