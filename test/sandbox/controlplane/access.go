package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"sandbox/authority"
)

const (
	// Project, Region, Zone and ClusterName are what the cluster pretends to be on GKE.
	Project     = "sandbox-project"
	Region      = "us-central1"
	Zone        = "us-central1-b"
	ClusterName = "vectors"

	// AdminUser is whom the exec credential's tokens stand for; AdminGroup has all permissions.
	AdminUser  = "admin@sandbox-project.iam.gserviceaccount.com"
	AdminGroup = "sandbox:admins"

	readerUser  = "reader@sandbox-project.iam.gserviceaccount.com"
	withoutUser = "without-milvus@sandbox-project.iam.gserviceaccount.com"
	// EmptyNamespace is all that the user without Milvus may see.
	EmptyNamespace = "empty"
)

// Contexts are the names of the contexts of the kubeconfig for people.
type Contexts struct {
	Admin         string `json:"admin"`
	Reader        string `json:"reader"`
	Unreachable   string `json:"unreachable"`
	WithoutMilvus string `json:"withoutMilvus"`
}

// ContextNames are the names as GKE makes them: gke_<project>_<location>_<cluster>.
func ContextNames() Contexts {
	cluster := "gke_" + Project + "_" + Region + "_" + ClusterName
	return Contexts{Admin: cluster, Reader: cluster + "-reader", Unreachable: "gke_" + Project + "_us-west1_old", WithoutMilvus: cluster + "-empty"}
}

func (c *Cluster) cluster() *clientcmdapi.Cluster {
	ca := c.config.Authority.Certificate()
	return &clientcmdapi.Cluster{Server: c.Server, CertificateAuthorityData: ca}
}

// Kubeconfig writes <name>.kubeconfig with a client certificate into the cluster's directory.
func (c *Cluster) Kubeconfig(name string, user authority.Request) (string, error) {
	info, err := c.certificateUser(user)
	if err != nil {
		return "", err
	}
	cluster := c.cluster()
	config := clientcmdapi.NewConfig()
	context := ContextNames().Admin
	config.Clusters[context] = cluster
	config.AuthInfos[user.CommonName] = info
	config.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: user.CommonName}
	config.CurrentContext = context
	file := filepath.Join(c.config.Dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return "", fmt.Errorf("writing %s: %w", file, err)
	}
	return file, nil
}

func (c *Cluster) certificateUser(user authority.Request) (*clientcmdapi.AuthInfo, error) {
	cert, key, err := c.config.Authority.Issue(user)
	if err != nil {
		return nil, err
	}
	return &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}, nil
}

// installHint is the text of the kubeconfigs that `gcloud container clusters get-credentials` writes.
const installHint = `Install gke-gcloud-auth-plugin for use with kubectl by following
  https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl#install_plugin`

// WriteKubeconfig writes the kubeconfig for people: four contexts, the admin's current.
func (c *Cluster) WriteKubeconfig(file string) error {
	names := ContextNames()
	cluster := c.cluster()
	port, err := freePort()
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[names.Admin] = cluster
	config.Clusters[names.Unreachable] = &clientcmdapi.Cluster{Server: fmt.Sprintf("https://127.0.0.1:%d", port), CertificateAuthorityData: cluster.CertificateAuthorityData}
	plugin := func() *clientcmdapi.AuthInfo {
		return &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: "gke-gcloud-auth-plugin", InstallHint: installHint,
			ProvideClusterInfo: true, InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		}}
	}
	config.AuthInfos[names.Admin], config.AuthInfos[names.Unreachable] = plugin(), plugin()
	for context, user := range map[string]string{names.Reader: readerUser, names.WithoutMilvus: withoutUser} {
		if config.AuthInfos[context], err = c.certificateUser(authority.Request{CommonName: user}); err != nil {
			return err
		}
	}
	config.Contexts[names.Admin] = &clientcmdapi.Context{Cluster: names.Admin, AuthInfo: names.Admin}
	config.Contexts[names.Reader] = &clientcmdapi.Context{Cluster: names.Admin, AuthInfo: names.Reader}
	config.Contexts[names.Unreachable] = &clientcmdapi.Context{Cluster: names.Unreachable, AuthInfo: names.Unreachable}
	config.Contexts[names.WithoutMilvus] = &clientcmdapi.Context{Cluster: names.Admin, AuthInfo: names.WithoutMilvus, Namespace: EmptyNamespace}
	config.CurrentContext = names.Admin
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return os.Chmod(file, 0o600)
}

// authorize binds the users of the kubeconfig for people.
func (c *Cluster) authorize(ctx context.Context) error {
	read := []string{"get", "list", "watch"}
	// RBAC cannot take Secrets away again, so the core group is listed without them.
	core := []string{
		"bindings", "componentstatuses", "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims",
		"persistentvolumes", "pods", "pods/log", "pods/status", "podtemplates", "replicationcontrollers", "resourcequotas", "serviceaccounts", "services", "services/status",
	}
	groups := []string{
		"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch", "cloud.google.com", "coordination.k8s.io",
		"discovery.k8s.io", "events.k8s.io", "milvus.io", "networking.gke.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
	}
	reader := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sandbox-reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: core, Verbs: read}, {APIGroups: groups, Resources: []string{"*"}, Verbs: read},
	}}
	if _, err := c.Kube.RbacV1().ClusterRoles().Create(ctx, reader, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the reader's role: %w", err)
	}
	for name, b := range map[string]struct {
		role    string
		subject rbacv1.Subject
	}{
		"sandbox-admins": {"cluster-admin", rbacv1.Subject{Kind: rbacv1.GroupKind, Name: AdminGroup, APIGroup: rbacv1.GroupName}},
		"sandbox-reader": {"sandbox-reader", rbacv1.Subject{Kind: rbacv1.UserKind, Name: readerUser, APIGroup: rbacv1.GroupName}},
	} {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{b.subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: b.role}}
		if _, err := c.Kube.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("binding %s: %w", name, err)
		}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: EmptyNamespace}}
	if _, err := c.Kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the namespace %s: %w", EmptyNamespace, err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "without-milvus"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: withoutUser, APIGroup: rbacv1.GroupName}},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"}}
	if _, err := c.Kube.RbacV1().RoleBindings(EmptyNamespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("binding the user without Milvus: %w", err)
	}
	return nil
}
