package nodes_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/utils/ptr"

	"sandbox/loop"
	"sandbox/testcluster"
)

const patience = 30 * time.Second

var cluster *testcluster.Cluster

func TestMain(m *testing.M) {
	var err error
	if cluster, err = testcluster.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cluster.Stop()
	os.Exit(code)
}

// namespace makes a namespace that goes with the test.
func namespace(t *testing.T) string {
	t.Helper()
	ns, err := cluster.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	wait(t, "the service account of the namespace", func() bool {
		_, err := cluster.Kube.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return ns.Name
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := testcluster.Wait(what, patience, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatal(err)
	}
}

func shell(script string) corev1.Container {
	return corev1.Container{Name: "main", Image: "sandbox/exec", Command: []string{"sh", "-c", script}}
}

func run(t *testing.T, ns, name string, spec corev1.PodSpec) {
	t.Helper()
	if _, err := cluster.Kube.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	p, err := cluster.Kube.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// waitPod waits until the first container is as wanted, and gives the pod.
func waitPod(t *testing.T, ns, name, what string, done func(*corev1.Pod, corev1.ContainerStatus) bool) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	err := testcluster.Wait(name+": "+what, patience, func() (bool, error) {
		p = get(t, ns, name)
		return len(p.Status.ContainerStatuses) > 0 && done(p, p.Status.ContainerStatuses[0]), nil
	})
	if err != nil {
		t.Fatalf("%v; status: %+v", err, p.Status)
	}
	return p
}

func logs(t *testing.T, ns, name string, o corev1.PodLogOptions) string {
	t.Helper()
	b, err := cluster.Kube.CoreV1().Pods(ns).GetLogs(name, &o).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func events(t *testing.T, ns, pod string) string {
	t.Helper()
	l, err := cluster.Kube.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range l.Items {
		fmt.Fprintf(&b, "%s %s %s\n", e.Type, e.Reason, e.Message)
	}
	return b.String()
}

func running(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.State.Running != nil }

func ready(p *corev1.Pod, _ corev1.ContainerStatus) bool { return podutil.IsPodReady(p) }

func TestEnvironmentVolumesAndLogs(t *testing.T) {
	ns := namespace(t)
	if _, err := cluster.Kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "config"}, Data: map[string]string{"key": "one"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Kube.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret"}, StringData: map[string]string{"PASSWORD": "geheim"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	init := shell(`echo from init > $SANDBOX_ROOT/shared/file`)
	init.Name = "init"
	init.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	main := shell(`cd $SANDBOX_ROOT; echo $LITERAL $KEY $S_PASSWORD $IP; cat shared/file etc/config/key etc/one; ls var/run/secrets/kubernetes.io/serviceaccount; while :; do cat etc/config/key etc/one | xargs echo now; sleep 0.2; done`)
	main.Env = []corev1.EnvVar{{Name: "LITERAL", Value: "$(KEY)-$(UNKNOWN)"}, {Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}, Key: "key"}}},
		{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}
	main.Env[0], main.Env[1] = main.Env[1], main.Env[0]
	main.EnvFrom = []corev1.EnvFromSource{{Prefix: "S_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "secret"}}}}
	main.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}, {Name: "config", MountPath: "/etc/config"}, {Name: "config", MountPath: "/etc/one", SubPath: "key"}}
	run(t, ns, "pod", corev1.PodSpec{InitContainers: []corev1.Container{init}, Containers: []corev1.Container{main}, Volumes: []corev1.Volume{
		{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}}}}}})
	p := waitPod(t, ns, "pod", "running", running)
	if !strings.HasPrefix(p.Status.PodIP, "10.") {
		t.Errorf("pod IP %s is not of 10.0.0.0/8", p.Status.PodIP)
	}
	want := "one-$(UNKNOWN) one geheim " + p.Status.PodIP + "\nfrom init\noneoneca.crt\nnamespace\ntoken\n"
	wait(t, "the first lines", func() bool { return strings.HasPrefix(logs(t, ns, "pod", corev1.PodLogOptions{}), want) })

	// a whole volume follows its ConfigMap, a subPath does not
	if _, err := cluster.Kube.CoreV1().ConfigMaps(ns).Patch(t.Context(), "config", types.MergePatchType, []byte(`{"data":{"key":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the changed ConfigMap", func() bool {
		return logs(t, ns, "pod", corev1.PodLogOptions{TailLines: ptr.To[int64](1)}) == "now twoone\n"
	})
}

func TestMissingConfigMapIsShownAndWaitedFor(t *testing.T) {
	ns := namespace(t)
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{shell("sleep 1000")}, Volumes: []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "late"}}}}}})
	wait(t, "the event", func() bool {
		return strings.Contains(events(t, ns, "pod"), `Warning FailedMount MountVolume.SetUp failed for volume "v" : configmap "late" not found`)
	})
	if s := get(t, ns, "pod").Status.ContainerStatuses[0].State; s.Waiting == nil || s.Waiting.Reason != "ContainerCreating" {
		t.Errorf("state %+v, want ContainerCreating", s)
	}
	if _, err := cluster.Kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitPod(t, ns, "pod", "ready", ready)
}

func TestCrashLoop(t *testing.T) {
	ns := namespace(t)
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{shell(`echo cannot start; exit 3`)}})
	p := waitPod(t, ns, "pod", "crash-looping", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.RestartCount >= 2 && c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff"
	})
	c := p.Status.ContainerStatuses[0]
	if term := c.LastTerminationState.Terminated; term == nil || term.ExitCode != 3 || term.Reason != "Error" {
		t.Errorf("last state %+v, want exit code 3", c.LastTerminationState)
	}
	if want := fmt.Sprintf("restarting failed container=main pod=pod_%s(%s)", ns, p.UID); !strings.HasPrefix(c.State.Waiting.Message, "back-off ") || !strings.HasSuffix(c.State.Waiting.Message, want) {
		t.Errorf("message %q, want back-off … %s", c.State.Waiting.Message, want)
	}
	if p.Status.Phase != corev1.PodRunning || podutil.IsPodReady(p) {
		t.Errorf("phase %s, ready %t; want Running, not ready", p.Status.Phase, podutil.IsPodReady(p))
	}
	if got := logs(t, ns, "pod", corev1.PodLogOptions{Previous: true}); got != "cannot start\n" {
		t.Errorf("previous log %q", got)
	}
	wait(t, "the BackOff event", func() bool {
		return strings.Contains(events(t, ns, "pod"), "Warning BackOff Back-off restarting failed container main in pod pod_"+ns)
	})
}

func TestImageThatDoesNotExist(t *testing.T) {
	ns := namespace(t)
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "milvusdb/milvus:v2.5.16"}}})
	p := waitPod(t, ns, "pod", "waiting", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == "ImagePullBackOff"
	})
	if p.Status.Phase != corev1.PodPending {
		t.Errorf("phase %s, want Pending", p.Status.Phase)
	}
	_, err := cluster.Kube.CoreV1().Pods(ns).GetLogs("pod", &corev1.PodLogOptions{}).Stream(t.Context())
	if err == nil || !strings.Contains(err.Error(), `container "main" in pod "pod" is waiting to start`) {
		t.Errorf("log error %v", err)
	}
}

func TestProbes(t *testing.T) {
	ns := namespace(t)
	// serves a folder: what is in it decides which probe passes
	c := shell(`mkdir -p www; touch www/live; cd www; exec python3 -m http.server --bind $SANDBOX_ADDRESS 8080`)
	c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	file := func(name string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/" + name, Port: intstr.FromString("http")}}
	}
	c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, PeriodSeconds: 5, FailureThreshold: 30}
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: file("ready"), PeriodSeconds: 5, FailureThreshold: 1}
	c.LivenessProbe = &corev1.Probe{ProbeHandler: file("live"), PeriodSeconds: 5, FailureThreshold: 2}
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{c}})
	waitPod(t, ns, "pod", "started", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return ptr.Deref(c.Started, false) })
	wait(t, "the failing readiness probe", func() bool {
		return strings.Contains(events(t, ns, "pod"), "Warning Unhealthy Readiness probe failed: HTTP probe failed with statuscode: 404")
	})
	if podutil.IsPodReady(get(t, ns, "pod")) {
		t.Error("ready although the probe fails")
	}
	if _, _, err := execute(t, ns, "pod", "touch", "www/ready"); err != nil {
		t.Fatal(err)
	}
	waitPod(t, ns, "pod", "ready", ready)
	if _, _, err := execute(t, ns, "pod", "rm", "www/live"); err != nil {
		t.Fatal(err)
	}
	waitPod(t, ns, "pod", "restarted", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.RestartCount == 1 && c.State.Running != nil
	})
	wait(t, "the Killing event", func() bool {
		return strings.Contains(events(t, ns, "pod"), "Normal Killing Container main failed liveness probe, will be restarted")
	})
}

func TestReadinessGate(t *testing.T) {
	ns := namespace(t)
	const gate = "cloud.google.com/load-balancer-neg-ready"
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{shell("sleep 1000")}, ReadinessGates: []corev1.PodReadinessGate{{ConditionType: gate}}})
	waitPod(t, ns, "pod", "held by its gate", func(p *corev1.Pod, c corev1.ContainerStatus) bool {
		r := podutil.GetPodReadyCondition(p.Status)
		return c.Ready && r != nil && r.Status == corev1.ConditionFalse && r.Reason == "ReadinessGatesNotReady"
	})
	patch := `{"status":{"conditions":[{"type":"` + gate + `","status":"True"}]}}`
	if _, err := cluster.Kube.CoreV1().Pods(ns).Patch(t.Context(), "pod", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	waitPod(t, ns, "pod", "ready", ready)
}

func TestTermination(t *testing.T) {
	ns := namespace(t)
	dir := t.TempDir()
	run(t, ns, "polite", corev1.PodSpec{Containers: []corev1.Container{shell(`trap 'echo bye > ` + dir + `/polite; exit 0' TERM; echo up; while :; do sleep 0.05; done`)}})
	run(t, ns, "deaf", corev1.PodSpec{TerminationGracePeriodSeconds: ptr.To[int64](30), Containers: []corev1.Container{shell(`trap '' TERM; sh -c 'echo $PPID' > ` + dir + `/pid; while :; do sleep 0.05; done`)}})
	waitPod(t, ns, "polite", "running", running)
	wait(t, "polite to have set its trap", func() bool { return logs(t, ns, "polite", corev1.PodLogOptions{}) == "up\n" })
	waitPod(t, ns, "deaf", "running", running)
	var pid int
	wait(t, "deaf to write its process id", func() bool {
		b, _ := os.ReadFile(dir + "/pid")
		n, _ := fmt.Sscan(string(b), &pid)
		return n == 1
	})
	begin := time.Now()
	for _, name := range []string{"polite", "deaf"} {
		if err := cluster.Kube.CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	gone := map[string]time.Duration{}
	wait(t, "both to be gone", func() bool {
		for _, name := range []string{"polite", "deaf"} {
			if _, err := cluster.Kube.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{}); apierrors.IsNotFound(err) && gone[name] == 0 {
				gone[name] = time.Since(begin)
			}
		}
		return len(gone) == 2
	})
	if b, _ := os.ReadFile(dir + "/polite"); string(b) != "bye\n" {
		t.Errorf("the polite process got no SIGTERM: %q", b)
	}
	if grace := 30 * time.Second / testcluster.Speed; gone["deaf"] < grace {
		t.Errorf("the deaf process was gone after %s, before its grace period of %s", gone["deaf"], grace)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Errorf("process %d of the deleted pod still runs", pid)
	}
}

func TestJobRunsOnce(t *testing.T) {
	ns := namespace(t)
	file := t.TempDir() + "/runs"
	c := shell("echo run >> " + file)
	if _, err := cluster.Kube.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the Job to be complete", func() bool {
		j, err := cluster.Kube.BatchV1().Jobs(ns).Get(t.Context(), "job", metav1.GetOptions{})
		return err == nil && j.Status.Succeeded == 1 && j.Status.CompletionTime != nil
	})
	if b, _ := os.ReadFile(file); string(b) != "run\n" {
		t.Errorf("runs: %q, want one", b)
	}
}

// execute runs a command in the pod's first container, as kubectl exec does.
func execute(t *testing.T, ns, pod string, line ...string) (stdout, stderr string, err error) {
	t.Helper()
	req := cluster.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: line, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	x, err := remotecommand.NewWebSocketExecutor(cluster.Rest, "GET", req.URL().String())
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	err = x.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), err
}

func TestExec(t *testing.T) {
	ns := namespace(t)
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{shell("mkdir -p etc; echo inside > etc/own; sleep 1000")}})
	waitPod(t, ns, "pod", "running", running)
	wait(t, "the container's own file", func() bool {
		out, _, err := execute(t, ns, "pod", "cat", "/etc/own")
		return err == nil && out == "inside\n"
	})
	_, errs, err := execute(t, ns, "pod", "sh", "-c", "echo wrong >&2; exit 4")
	exit, ok := err.(utilexec.CodeExitError)
	if !ok || exit.Code != 4 || errs != "wrong\n" {
		t.Errorf("error %v, standard error %q; want exit code 4, wrong", err, errs)
	}
	_, _, err = execute(t, ns, "pod", "nonesuch")
	if err == nil || !strings.Contains(err.Error(), `unable to start container process: exec: "nonesuch": executable file not found in $PATH`) {
		t.Errorf("error %v", err)
	}
}

func TestPortForward(t *testing.T) {
	ns := namespace(t)
	c := shell(`mkdir -p www; echo hello > www/file; cd www; exec python3 -m http.server --bind $SANDBOX_ADDRESS 8080`)
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, PeriodSeconds: 5}
	run(t, ns, "pod", corev1.PodSpec{Containers: []corev1.Container{c}})
	p := waitPod(t, ns, "pod", "ready", ready)
	if _, err := http.Get("http://" + loop.Address(p.Status.PodIP) + ":8080/file"); err != nil {
		t.Errorf("the pod's loopback address: %v", err)
	}
	rt, up, err := spdy.RoundTripperFor(cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	url := cluster.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name("pod").SubResource("portforward").URL()
	var errs safeBuffer
	stop, begun := make(chan struct{}), make(chan struct{})
	f, err := portforward.New(spdy.NewDialer(up, &http.Client{Transport: rt}, "POST", url), []string{"0:8080", "0:9999"}, stop, begun, io.Discard, &errs)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	<-begun
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/file", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "hello\n" {
		t.Errorf("body %q", body)
	}
	if res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[1].Local)); err == nil {
		res.Body.Close()
		t.Error("the closed port answered")
	}
	err = <-done // a failed connection ends the session, as with kubectl
	if text := fmt.Sprint(err, errs.String()); !strings.Contains(text, "lost connection to pod") {
		t.Errorf("port-forward ended with %q", text)
	}
}

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
