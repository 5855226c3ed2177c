// Package readinessgates stands in for GKE's mutating webhook that gives new pods of a Service with a network
// endpoint group the readiness gate cloud.google.com/load-balancer-neg-ready, so that a rolling update waits until
// the load balancer sees the new pods as healthy
// (cloud.google.com/kubernetes-engine/docs/concepts/container-native-load-balancing#pod_readiness). The gate is
// answered by the NEG controller of ingress-gce.
package readinessgates

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"sandbox/authority"
)

// Gate is the condition that the NEG controller sets.
const Gate corev1.PodConditionType = "cloud.google.com/load-balancer-neg-ready"

// negStatus is written by the NEG controller once a Service has a group.
const negStatus = "cloud.google.com/neg-status"

type webhook struct {
	kube kubernetes.Interface
	log  *slog.Logger
}

// Start serves the webhook on a free loopback port and registers it under GKE's name.
func Start(ctx context.Context, kube kubernetes.Interface, ca *authority.Authority, log *slog.Logger) error {
	certFile, keyFile, err := ca.IssueFiles("readiness-gates", authority.Request{CommonName: "pod-readiness", Addresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("reading the webhook's certificate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("looking for a free port: %w", err)
	}
	w := &webhook{kube: kube, log: log}
	server := &http.Server{Handler: w, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	go func() { _ = server.ServeTLS(l, "", "") }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	_, err = kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-ready.config.common-webhooks.networking.gke.io"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:         "pod-ready.common-webhooks.networking.gke.io",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: ptr.To("https://" + l.Addr().String() + "/"), CABundle: ca.Certificate()},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			FailurePolicy: ptr.To(admissionregistrationv1.Ignore), SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: ptr.To[int32](3),
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("registering the webhook: %w", err)
	}
	return nil
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(rw, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	answer := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	patch, err := w.patch(r.Context(), review.Request)
	if err != nil { // GKE lets the pod pass as it is
		w.log.Error("readiness gate", "namespace", review.Request.Namespace, "error", err.Error())
	}
	if patch != nil {
		answer.Patch, answer.PatchType = patch, ptr.To(admissionv1.PatchTypeJSONPatch)
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Response: answer})
}

// patch is nil for a pod that no Service with a group selects.
func (w *webhook) patch(ctx context.Context, request *admissionv1.AdmissionRequest) ([]byte, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	gates := pod.Spec.ReadinessGates
	for _, g := range gates {
		if g.ConditionType == Gate {
			return nil, nil
		}
	}
	services, err := w.kube.CoreV1().Services(request.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	for _, s := range services.Items {
		if s.Annotations[negStatus] != "" && len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			return json.Marshal([]map[string]any{{"op": "add", "path": "/spec/readinessGates", "value": append(gates, corev1.PodReadinessGate{ConditionType: Gate})}})
		}
	}
	return nil, nil
}
