package layer4_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sandbox/layer4"
	"sandbox/testcluster"
)

const patience = 30 * time.Second

var cluster *testcluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if cluster, err = testcluster.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer cluster.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if err := layer4.Start(ctx, layer4.Config{Kube: cluster.Kube, Net: cluster.Net, Log: log.New(io.Discard, "", 0)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := testcluster.Wait(what, patience, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatal(err)
	}
}

// echo is a pod that answers every line with its name before it; a file in its folder makes it ready.
func echo(t *testing.T, ns, name string, isReady bool) {
	t.Helper()
	script := `import os, socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(os.environ["HOSTNAME"].encode() + b" " + line)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((os.environ["SANDBOX_ADDRESS"], 7000), H).serve_forever()`
	probe := "false"
	if isReady {
		probe = "true"
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "echo"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "sandbox/exec", Command: []string{"python3", "-c", script}, Ports: []corev1.ContainerPort{{Name: "echo", ContainerPort: 7000}},
		StartupProbe:   &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("echo")}}, PeriodSeconds: 1, FailureThreshold: 100},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{probe}}}, PeriodSeconds: 5}}}}}
	if _, err := cluster.Kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// ask sends one line on a new connection and gives the answer.
func ask(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return say(c)
}

func say(c net.Conn) (string, error) {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

func TestServiceOfTypeLoadBalancer(t *testing.T) {
	kube := cluster.Kube.CoreV1()
	created, err := kube.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ns := created.Name
	wait(t, "the service account", func() bool {
		_, err := kube.ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	if _, err := kube.Services(ns).Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "echo"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "echo"}, Ports: []corev1.ServicePort{{Name: "p", Port: 19530, TargetPort: intstr.FromString("echo")}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var ip string
	wait(t, "an address", func() bool {
		s, err := kube.Services(ns).Get(t.Context(), "echo", metav1.GetOptions{})
		if err != nil || len(s.Status.LoadBalancer.Ingress) != 1 {
			return false
		}
		ip = s.Status.LoadBalancer.Ingress[0].IP
		return true
	})
	if want := fmt.Sprintf("127.%d.0.", 60+cluster.Net); !strings.HasPrefix(ip, want) {
		t.Errorf("address %s, want %s…", ip, want)
	}
	address := ip + ":19530"
	if _, err := ask(address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("without pods: %v, want a refused connection", err)
	}

	echo(t, ns, "one", true)
	echo(t, ns, "two", true)
	echo(t, ns, "unready", false)
	wait(t, "an answer from both ready pods", func() bool {
		a, err := ask(address)
		b, err2 := ask(address)
		return err == nil && err2 == nil && a != b
	})
	for range 20 {
		if a, err := ask(address); err != nil || a != "one hello" && a != "two hello" {
			t.Errorf("answer %q, %v; want one of the ready pods", a, err)
		}
	}

	// a connection outlives the change of the Service's type for a moment, and no longer
	open, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := say(open); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Services(ns).Patch(t.Context(), "echo", types.StrategicMergePatchType, []byte(`{"spec":{"type":"ClusterIP"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the address to be gone", func() bool {
		s, err := kube.Services(ns).Get(t.Context(), "echo", metav1.GetOptions{})
		return err == nil && len(s.Status.LoadBalancer.Ingress) == 0 && len(s.Finalizers) == 0
	})
	if _, err := ask(address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the change of type: %v, want a refused connection", err)
	}
	if _, err := say(open); err != nil {
		t.Errorf("the open connection was cut at once: %v", err)
	}
	wait(t, "the open connection to be cut", func() bool {
		_, err := say(open)
		return err != nil
	})
	if err := kube.Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
