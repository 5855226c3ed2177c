package nodes

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"sandbox/loop"
)

const (
	streamIdleTimeout     = 4 * time.Hour // kubelet --streaming-connection-idle-timeout
	streamCreationTimeout = 30 * time.Second
)

// serveAPI serves what the API server asks of a kubelet: logs, exec and port-forward.
func (k *Kubelet) serveAPI(ctx context.Context, n *node) error {
	address := loop.Address(n.ip)
	certFile, keyFile, err := k.cfg.Issue("kubelet-"+n.name, "system:node:"+n.name, []string{"system:nodes"}, nil, []net.IP{net.ParseIP(address)})
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(kubeletPort)))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveExec)
	http1 := new(http.Protocols) // SPDY streams upgrade an HTTP/1.1 connection
	http1.SetHTTP1(true)
	s := &http.Server{Handler: mux, Protocols: http1, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go s.ServeTLS(l, "", "")
	context.AfterFunc(ctx, func() { s.Close() })
	return nil
}

// find gives the worker of a pod that runs here.
func (k *Kubelet) find(namespace, name string) (*podWorker, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		if p := w.current(); p.Namespace == namespace && p.Name == name {
			return w, true
		}
	}
	return nil, false
}

// containerRuns answers the one question the log reader has: does the container still run?
type containerRuns struct {
	internalapi.RuntimeService
	running func() bool
}

func (r containerRuns) ContainerStatus(context.Context, string, bool) (*runtimeapi.ContainerStatusResponse, error) {
	state := runtimeapi.ContainerState_CONTAINER_EXITED
	if r.running() {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{State: state}}, nil
}

func (k *Kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	pod, name := r.PathValue("pod"), r.PathValue("container")
	worker, ok := k.find(r.PathValue("namespace"), pod)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", pod), http.StatusNotFound)
		return
	}
	options, err := logOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, run, err := worker.logOf(name, r.FormValue("previous") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Transfer-Encoding", "chunked")
	flush := flushed{w, http.NewResponseController(w)}
	running := func() bool {
		if run == nil {
			return false
		}
		select {
		case <-run.exited:
			return false
		default:
			return true
		}
	}
	if err := logs.ReadLogs(r.Context(), path, name, options, containerRuns{running: running}, flush, flush); err != nil && r.Context().Err() == nil {
		fmt.Fprintf(w, "failed to try resolving symlinks in path %q: %v", path, err)
	}
}

// flushed sends every line at once, for `kubectl logs --follow`.
type flushed struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}

// logOptions reads the query as the kubelet does (pkg/kubelet/server/server.go getContainerLogs).
func logOptions(r *http.Request) (*logs.LogOptions, error) {
	o := &logs.LogOptions{Follow: r.FormValue("follow") == "true", Timestamp: r.FormValue("timestamps") == "true"}
	for name, to := range map[string]**int64{"tailLines": &o.TailLines, "limitBytes": &o.LimitBytes} {
		if s := r.FormValue(name); s != "" && s != "all" {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("invalid %s %q", name, s)
			}
			*to = &n
		}
	}
	if s := r.FormValue("sinceSeconds"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("invalid sinceSeconds %q", s)
		}
		o.Since = time.Now().Add(-time.Duration(n) * time.Second)
	}
	if s := r.FormValue("sinceTime"); s != "" {
		var t metav1.Time
		if err := t.UnmarshalQueryParameter(s); err != nil {
			return nil, err
		}
		o.Since = t.Time
	}
	return o, nil
}

// logOf gives the log of a container's present or previous run; the errors are the kubelet's
// (pkg/kubelet/kubelet_pods.go validateContainerLogStatus).
func (w *podWorker) logOf(name string, previous bool) (string, *containerRun, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pod := w.pod.Name
	c := w.containers[name]
	if c == nil {
		return "", nil, fmt.Errorf("container %q in pod %q is not available", name, pod)
	}
	switch {
	case previous:
		// while the container runs or has ended, the run before; while it waits, the last one
		if c.last.Terminated == nil || c.last.Terminated.ContainerID == "" {
			return "", nil, fmt.Errorf("previous terminated container %q in pod %q not found", name, pod)
		}
		restart := c.restarts
		if c.state.Waiting == nil {
			restart--
		}
		return w.logFile(name, restart), nil, nil
	case c.state.Running != nil, c.state.Terminated != nil && c.state.Terminated.ContainerID != "":
		return w.logFile(name, c.restarts), c.run, nil
	case c.last.Terminated != nil && c.last.Terminated.ContainerID != "":
		return w.logFile(name, c.restarts), nil, nil
	case c.state.Waiting != nil:
		switch c.state.Waiting.Reason {
		case "ErrImagePull":
			return "", nil, fmt.Errorf("container %q in pod %q is waiting to start: image can't be pulled", name, pod)
		case "ImagePullBackOff":
			return "", nil, fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", name, pod)
		}
		return "", nil, fmt.Errorf("container %q in pod %q is waiting to start: %v", name, pod, c.state.Waiting.Reason)
	}
	return "", nil, fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", name, pod)
}

func (k *Kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	worker, ok := k.find(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{worker}, worker.sandboxID(), "", options, streamIdleTimeout, streamCreationTimeout, portforward.SupportedProtocols)
}

// sandboxID is the pod's name in the container runtime, by which its errors call it.
func (w *podWorker) sandboxID() string {
	sum := sha256.Sum256([]byte(w.uid))
	return hex.EncodeToString(sum[:])
}

// forwarder connects a forwarded stream with a port of the pod.
type forwarder struct{ w *podWorker }

// PortForward copies between the stream and the port. For a closed port the error is containerd's
// (containerd/containerd internal/cri/server/sandbox_portforward_linux.go).
func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(f.w.address(), strconv.Itoa(int(port))))
	if err != nil {
		reason := strings.ReplaceAll(err.Error(), "dial tcp4 "+f.w.address(), "dial tcp4 127.0.0.1")
		return fmt.Errorf("failed to execute portforward in network namespace %q: failed to connect to localhost:%d inside namespace %q, IPv4: %s IPv6 %s ",
			"/var/run/netns/cni-"+string(f.w.uid), port, f.w.sandboxID(), reason, strings.ReplaceAll(reason, "dial tcp4 127.0.0.1", "dial tcp6 [::1]"))
	}
	defer conn.Close()
	defer stream.Close()
	stop := context.AfterFunc(f.w.ctx, func() { conn.Close() })
	defer stop()
	up := make(chan struct{})
	go func() {
		defer close(up)
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (k *Kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	pod, name := r.PathValue("pod"), r.PathValue("container")
	worker, ok := k.find(r.PathValue("namespace"), pod)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", pod), http.StatusNotFound)
		return
	}
	worker.mu.Lock()
	c := worker.containers[name]
	var run *containerRun
	if c != nil {
		run = c.run
	}
	worker.mu.Unlock()
	if run == nil {
		http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusInternalServerError)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{worker, run}, pod, string(worker.uid), name, r.Form["command"], options,
		streamIdleTimeout, streamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// executor runs commands beside a container's process.
type executor struct {
	w   *podWorker
	run *containerRun
}

// ExecInContainer runs the command and gives its exit code as an error that the client shows. There
// is no terminal: with tty, output and errors go to one stream.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, line []string, in io.Reader, out, errOut io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	cmd, err := command(line, e.run.root, e.run.env)
	if err != nil {
		// containerd's words, without an exit code: nothing ran
		return fmt.Errorf("failed to exec in container: failed to start exec %q: OCI runtime exec failed: exec failed: unable to start container process: %w: unknown", e.w.sandboxID(), err)
	}
	cmd.Stdout = out
	if tty || errOut == nil {
		cmd.Stderr = out
	} else {
		cmd.Stderr = errOut
	}
	if in != nil {
		// by a pipe of our own: Wait would else wait for the client to close its input
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() { io.Copy(pipe, in); pipe.Close() }()
	}
	if err := e.w.k.spawn.start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-e.run.exited: // a container's end takes its exec sessions along
		case <-ended:
			return
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}()
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := int(exitCode(err))
		return utilexec.CodeExitError{Code: code, Err: fmt.Errorf("command terminated with exit code %d", code)}
	}
	return err
}
