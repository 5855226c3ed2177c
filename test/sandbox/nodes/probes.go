package nodes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	kubeprobe "k8s.io/kubernetes/pkg/probe"
	grpcprobe "k8s.io/kubernetes/pkg/probe/grpc"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
)

const (
	// minimalPeriod and minimalTimeout bound what a fast sandbox makes of a probe's seconds: a busy
	// machine must not look like a broken container.
	minimalPeriod  = 200 * time.Millisecond
	minimalTimeout = time.Second
)

var (
	httpProber = httpprobe.New(false)
	tcpProber  = tcpprobe.New()
	grpcProber = grpcprobe.New()
)

// probe runs the container's probes until ctx ends. The channel names the probe that demands a
// restart.
func (w *podWorker) probe(ctx context.Context, c *container, run *containerRun) <-chan string {
	unhealthy := make(chan string, 2)
	if s := c.spec.StartupProbe; s != nil {
		go w.probeLoop(ctx, c, run, "Startup", s, func(ok bool) bool {
			if !ok {
				unhealthy <- "startup"
				return false
			}
			w.mu.Lock()
			w.hasStarted(c, run)
			c.ready = c.spec.ReadinessProbe == nil
			w.mu.Unlock()
			w.changed()
			return false
		})
	}
	if s := c.spec.ReadinessProbe; s != nil {
		go w.probeLoop(ctx, c, run, "Readiness", s, func(ok bool) bool {
			w.mu.Lock()
			differs := c.run == run && c.ready != ok
			if differs {
				c.ready = ok
			}
			w.mu.Unlock()
			if differs {
				w.changed()
			}
			return true
		})
	}
	if s := c.spec.LivenessProbe; s != nil {
		go w.probeLoop(ctx, c, run, "Liveness", s, func(ok bool) bool {
			if ok || w.isDeleting() {
				return true
			}
			unhealthy <- "liveness"
			return false
		})
	}
	return unhealthy
}

// probeLoop performs one probe as the kubelet's worker does (pkg/kubelet/prober/worker.go) and
// reports each result that reached its threshold until reported gives false.
func (w *podWorker) probeLoop(ctx context.Context, c *container, run *containerRun, kind string, spec *corev1.Probe, reported func(ok bool) bool) {
	if kind != "Startup" { // other probes wait for the startup probe
		select {
		case <-run.hasBegun:
		case <-ctx.Done():
			return
		}
	}
	wait := w.k.after(time.Duration(spec.InitialDelaySeconds)*time.Second) - time.Since(run.started)
	var last bool
	var times int32
	for {
		select {
		case <-time.After(max(wait, 0)):
		case <-ctx.Done():
			return
		}
		wait = max(w.k.after(time.Duration(spec.PeriodSeconds)*time.Second), minimalPeriod)
		ok, output := w.probeOnce(ctx, c, run, spec)
		if ctx.Err() != nil {
			return
		}
		if !ok {
			w.containerEvent(c, corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind, strings.ReplaceAll(output, w.address(), w.ip))
		}
		if times > 0 && ok == last {
			times++
		} else {
			last, times = ok, 1
		}
		if threshold := spec.SuccessThreshold; ok && times < threshold {
			continue
		}
		if threshold := spec.FailureThreshold; !ok && times < threshold {
			continue
		}
		if !reported(ok) {
			return
		}
	}
}

// probeOnce performs a probe for real, against the pod's loopback address.
func (w *podWorker) probeOnce(ctx context.Context, c *container, run *containerRun, spec *corev1.Probe) (ok bool, output string) {
	timeout := max(w.k.after(time.Duration(spec.TimeoutSeconds)*time.Second), minimalTimeout)
	var result kubeprobe.Result
	var err error
	switch {
	case spec.HTTPGet != nil:
		var req *http.Request
		if req, err = httpprobe.NewRequestForHTTPGetAction(spec.HTTPGet, c.spec, w.address(), "probe"); err == nil {
			result, output, err = httpProber.Probe(req, timeout)
		}
	case spec.TCPSocket != nil:
		var port int
		if port, err = kubeprobe.ResolveContainerPort(spec.TCPSocket.Port, c.spec); err == nil {
			host := spec.TCPSocket.Host
			if host == "" {
				host = w.address()
			}
			result, output, err = tcpProber.Probe(host, port, timeout)
		}
	case spec.GRPC != nil:
		service := ""
		if spec.GRPC.Service != nil {
			service = *spec.GRPC.Service
		}
		result, output, err = grpcProber.Probe(w.address(), service, int(spec.GRPC.Port), timeout)
	case spec.Exec != nil:
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		output, err = w.execute(limited, run, spec.Exec.Command)
		var exit *exec.ExitError
		switch {
		case limited.Err() != nil && ctx.Err() == nil:
			result, output, err = kubeprobe.Failure, fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(spec.Exec.Command, " "), timeout), nil
		case errors.As(err, &exit):
			result, err = kubeprobe.Failure, nil
		case err == nil:
			result = kubeprobe.Success
		}
	default:
		return false, "missing probe handler"
	}
	if err != nil {
		return false, err.Error()
	}
	return result == kubeprobe.Success || result == kubeprobe.Warning, output
}
