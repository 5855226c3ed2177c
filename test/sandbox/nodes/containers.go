package nodes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

const (
	// crashLoopInitial and crashLoopMax are the kubelet's restart delays (pkg/kubelet/kubelet.go);
	// a run of twice the longest one clears them.
	crashLoopInitial = 10 * time.Second
	crashLoopMax     = 300 * time.Second
	// configRetry is the kubelet's pod resync after a failed start.
	configRetry = 10 * time.Second
	// minimalGrace keeps a fast sandbox from killing what would have ended in time.
	minimalGrace = time.Second
)

// container is one container of a pod; its fields are guarded by the worker's mutex.
type container struct {
	spec *corev1.Container
	init bool

	state, last corev1.ContainerState
	restarts    int32
	id          string
	ready       bool
	started     bool
	startedCh   chan struct{} // closed when it has started for the first time
	run         *containerRun // nil while no process runs
}

// containerRun is one process of a container.
type containerRun struct {
	cmd      *exec.Cmd
	env      []string
	root     string
	started  time.Time
	exited   chan struct{} // closed when the process and its output have ended
	code     int32
	stopOnce sync.Once
	hasBegun chan struct{} // closed when the startup probe has passed
}

// logFile is where the n-th run of a container writes, in CRI's log format.
func (w *podWorker) logFile(name string, restart int32) string {
	return filepath.Join(w.logs, name, fmt.Sprintf("%d.log", restart))
}

// runContainer runs a container, restarting it as the pod's policy says, until it ends for good.
// It tells whether it ended with success. A closed stop ends it like a deletion of the pod.
func (w *podWorker) runContainer(c *container, stop <-chan struct{}) bool {
	var delay time.Duration
	for {
		run := w.startContainer(c)
		if run == nil {
			return false
		}
		killed := w.supervise(c, run, stop)
		w.mu.Lock()
		term := w.endRun(c, run)
		w.mu.Unlock()
		w.changed()
		if killed {
			return term.ExitCode == 0
		}
		if !w.restarts(c, term.ExitCode) {
			return term.ExitCode == 0
		}
		if ran := time.Since(run.started); ran > w.k.after(2*crashLoopMax) {
			delay = 0
		}
		if delay > 0 && !w.backOff(c, delay) {
			return false
		}
		delay = min(max(2*delay, crashLoopInitial), crashLoopMax)
		w.mu.Lock()
		c.restarts++
		c.last = corev1.ContainerState{Terminated: term}
		w.mu.Unlock()
	}
}

// restarts tells whether a container that ended is started again.
func (w *podWorker) restarts(c *container, code int32) bool {
	if w.isDeleting() {
		return false
	}
	policy := w.current().Spec.RestartPolicy
	if c.init {
		if c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			return true
		}
		return code != 0 && policy != corev1.RestartPolicyNever
	}
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && code != 0
}

// backOff shows the container as crash-looping for the delay; false when the pod ends meanwhile.
func (w *podWorker) backOff(c *container, delay time.Duration) bool {
	p := w.current()
	w.containerEvent(c, corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s", c.spec.Name, description(p))
	w.mu.Lock()
	c.last, c.state = c.state, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
		Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", delay, c.spec.Name, description(p))}}
	w.mu.Unlock()
	w.changed()
	return w.pause(delay)
}

// wait shows why a container cannot start.
func (w *podWorker) wait(c *container, reason, message string) {
	w.mu.Lock()
	c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	c.ready, c.started = false, false
	w.mu.Unlock()
	w.changed()
}

// startContainer starts the process of a container, waiting for what it needs; nil when the pod
// ends before.
func (w *podWorker) startContainer(c *container) *containerRun {
	img := w.pullImage(c)
	if img == nil {
		return nil
	}
	for {
		run, reason, err := w.launch(c, img)
		if err == nil {
			w.containerEvent(c, corev1.EventTypeNormal, "Started", "Container started")
			return run
		}
		if w.isDeleting() {
			return nil
		}
		w.containerEvent(c, corev1.EventTypeWarning, "Failed", "Error: %v", err)
		w.wait(c, reason, err.Error())
		if reason != "CreateContainerConfigError" {
			w.mu.Lock()
			now := metav1.Now()
			c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: err.Error(), StartedAt: now, FinishedAt: now}}
			w.mu.Unlock()
			if !w.restarts(c, 128) || !w.backOff(c, crashLoopInitial) {
				return nil
			}
			w.mu.Lock()
			c.restarts++
			w.mu.Unlock()
			continue
		}
		if !w.pause(configRetry) {
			return nil
		}
	}
}

// pullImage finds the image, showing the kubelet's errors for one that does not exist.
func (w *podWorker) pullImage(c *container) *image {
	delay := crashLoopInitial
	for {
		img, err := findImage(c.spec.Image)
		if err == nil {
			w.containerEvent(c, corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine and can be accessed by the pod", c.spec.Image)
			return img
		}
		w.containerEvent(c, corev1.EventTypeNormal, "Pulling", "Pulling image %q", c.spec.Image)
		w.containerEvent(c, corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %v", c.spec.Image, err)
		w.containerEvent(c, corev1.EventTypeWarning, "Failed", "Error: ErrImagePull")
		w.wait(c, "ErrImagePull", err.Error())
		if !w.pause(delay / 2) {
			return nil
		}
		w.containerEvent(c, corev1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.spec.Image)
		w.containerEvent(c, corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
		w.wait(c, "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %v", c.spec.Image, err))
		if !w.pause(delay) {
			return nil
		}
		delay = min(2*delay, crashLoopMax)
	}
}

// launch starts the process; on failure it gives the reason the container status shows.
func (w *podWorker) launch(c *container, img *image) (*containerRun, string, error) {
	root := filepath.Join(w.dir, "containers", c.spec.Name)
	if err := w.layOut(c.spec, root); err != nil {
		return nil, "CreateContainerConfigError", err
	}
	env, expand, err := w.environment(c.spec, img, root)
	if err != nil {
		return nil, "CreateContainerConfigError", err
	}
	line := commandLine(img, c.spec, expand)
	if len(line) == 0 {
		return nil, "CreateContainerError", errors.New("no command specified")
	}
	cmd, err := command(line, root, env)
	if err != nil {
		return nil, "RunContainerError", fmt.Errorf("failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: %w", err)
	}
	if c.spec.WorkingDir != "" {
		cmd.Dir = filepath.Join(root, c.spec.WorkingDir)
		if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
			return nil, "CreateContainerError", err
		}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "CreateContainerError", err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, "CreateContainerError", err
	}
	w.mu.Lock()
	restart := c.restarts
	w.mu.Unlock()
	path := w.logFile(c.spec.Name, restart)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, "CreateContainerError", err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, "CreateContainerError", err
	}
	if err := w.k.spawn.start(cmd); err != nil {
		file.Close()
		return nil, "RunContainerError", err
	}
	w.containerEvent(c, corev1.EventTypeNormal, "Created", "Container created")
	run := &containerRun{cmd: cmd, env: env, root: root, started: time.Now(), exited: make(chan struct{}), hasBegun: make(chan struct{})}
	go run.follow(file, stdout, stderr)
	w.mu.Lock()
	c.run, c.id = run, "containerd://"+rand.String(32)+rand.String(32)
	if c.state.Terminated != nil {
		c.last = c.state
	}
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(run.started)}}
	c.started = c.spec.StartupProbe == nil
	c.ready = c.started && c.spec.ReadinessProbe == nil && !c.init
	if c.started {
		w.hasStarted(c, run)
	}
	w.mu.Unlock()
	w.changed()
	return run, "", nil
}

// hasStarted marks a container whose startup probe has passed; the worker's mutex is held.
func (w *podWorker) hasStarted(c *container, run *containerRun) {
	c.started = true
	for _, ch := range []chan struct{}{run.hasBegun, c.startedCh} {
		select {
		case <-ch:
		default:
			close(ch)
		}
	}
}

// follow writes the process' output as CRI log lines and notes its end.
func (r *containerRun) follow(file *os.File, stdout, stderr io.Reader) {
	var mu sync.Mutex
	var copies sync.WaitGroup
	for stream, reader := range map[string]io.Reader{"stdout": stdout, "stderr": stderr} {
		copies.Add(1)
		go func() {
			defer copies.Done()
			lines := bufio.NewReaderSize(reader, 16<<10)
			for {
				line, partial, err := lines.ReadLine()
				if err != nil {
					return
				}
				tag := "F"
				if partial {
					tag = "P"
				}
				mu.Lock()
				fmt.Fprintf(file, "%s %s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, tag, line)
				mu.Unlock()
			}
		}()
	}
	// a child that keeps the pipes open must not hide the end of the process
	state, err := r.cmd.Process.Wait()
	killGroup(r.cmd.Process.Pid)
	copies.Wait()
	file.Close()
	switch {
	case err != nil:
		r.code = 255
	default:
		r.code = exitCode(&exec.ExitError{ProcessState: state})
	}
	close(r.exited)
}

// supervise probes a running container until its process has ended. It tells whether it was ended
// for the sake of the pod, so that it is not started again.
func (w *podWorker) supervise(c *container, run *containerRun, stop <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	unhealthy := w.probe(ctx, c, run)
	select {
	case <-run.exited:
		return w.isDeleting()
	case probe := <-unhealthy:
		w.containerEvent(c, corev1.EventTypeNormal, "Killing", "Container %s failed %s probe, will be restarted", c.spec.Name, probe)
		grace := w.specGrace()
		spec := c.spec.LivenessProbe
		if probe == "startup" {
			spec = c.spec.StartupProbe
		}
		if spec.TerminationGracePeriodSeconds != nil {
			grace = time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
		}
		w.stopRun(c, run, grace)
		return w.isDeleting()
	case <-w.deleting:
	case <-stop:
	case <-w.ctx.Done():
		killGroup(run.cmd.Process.Pid)
		<-run.exited
		return true
	}
	w.containerEvent(c, corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
	w.mu.Lock()
	grace := w.grace
	w.mu.Unlock()
	w.stopRun(c, run, grace)
	return true
}

func (w *podWorker) specGrace() time.Duration {
	if s := w.current().Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// stopRun ends a process as a container runtime does: preStop hook, SIGTERM, grace, SIGKILL.
func (w *podWorker) stopRun(c *container, run *containerRun, grace time.Duration) {
	deadline := time.NewTimer(max(w.k.after(grace), minimalGrace))
	defer deadline.Stop()
	if grace == 0 {
		deadline.Reset(0)
	}
	if h := c.spec.Lifecycle; h != nil && h.PreStop != nil {
		done := make(chan struct{})
		go func() { defer close(done); w.preStop(c, run, h.PreStop) }()
		select {
		case <-done:
		case <-run.exited:
		case <-deadline.C:
			killGroup(run.cmd.Process.Pid)
		case <-w.ctx.Done():
		}
	}
	_ = run.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-run.exited:
		return
	case <-deadline.C:
	case <-w.ctx.Done():
	}
	killGroup(run.cmd.Process.Pid)
	<-run.exited
}

func (w *podWorker) preStop(c *container, run *containerRun, h *corev1.LifecycleHandler) {
	switch {
	case h.Sleep != nil:
		select {
		case <-time.After(w.k.after(time.Duration(h.Sleep.Seconds) * time.Second)):
		case <-w.ctx.Done():
		}
	case h.Exec != nil:
		if out, err := w.execute(w.ctx, run, h.Exec.Command); err != nil {
			w.containerEvent(c, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			_ = out
		}
	}
}

// execute runs a command beside a container's process and gives its output.
func (w *podWorker) execute(ctx context.Context, run *containerRun, line []string) (string, error) {
	cmd, err := command(line, run.root, run.env)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := w.k.spawn.start(cmd); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { killGroup(cmd.Process.Pid) })
	defer stop()
	err = cmd.Wait()
	return out.String(), err
}

// endRun notes the end of a process; the worker's mutex is held.
func (w *podWorker) endRun(c *container, run *containerRun) *corev1.ContainerStateTerminated {
	reason := "Error"
	if run.code == 0 {
		reason = "Completed"
	}
	term := &corev1.ContainerStateTerminated{ExitCode: run.code, Reason: reason, StartedAt: metav1.NewTime(run.started), FinishedAt: metav1.Now(), ContainerID: c.id}
	c.state, c.run, c.started = corev1.ContainerState{Terminated: term}, nil, false
	c.ready = c.init && run.code == 0
	return term
}
