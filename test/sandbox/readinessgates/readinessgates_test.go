package readinessgates

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func TestPatch(t *testing.T) {
	service := func(name, app, status string) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", Annotations: map[string]string{}}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": app}}}
		if status != "" {
			s.Annotations[negStatus] = status
		}
		return s
	}
	w := &webhook{kube: fake.NewClientset(service("with", "milvus", `{"zones":[]}`), service("without", "web", "")), log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		app   string
		gates []corev1.PodReadinessGate
		want  bool
	}{
		{"milvus", nil, true}, {"web", nil, false}, {"other", nil, false},
		{"milvus", []corev1.PodReadinessGate{{ConditionType: "mine"}}, true}, {"milvus", []corev1.PodReadinessGate{{ConditionType: Gate}}, false},
	} {
		raw, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": c.app}}, Spec: corev1.PodSpec{ReadinessGates: c.gates}})
		if err != nil {
			t.Fatal(err)
		}
		patch, err := w.patch(t.Context(), &admissionv1.AdmissionRequest{Namespace: "ns", Object: runtime.RawExtension{Raw: raw}})
		if err != nil || (patch != nil) != c.want {
			t.Errorf("%s with %v: %s, %v", c.app, c.gates, patch, err)
		}
		if patch != nil && len(c.gates) > 0 && !strings.Contains(string(patch), "mine") {
			t.Errorf("the pod's own gates are lost: %s", patch)
		}
	}
}
