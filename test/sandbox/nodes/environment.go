package nodes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
	"k8s.io/utils/ptr"
)

// environment gives the variables of a container's process and the expansion of $(NAME) in its
// command. Errors are those the kubelet shows with CreateContainerConfigError.
func (w *podWorker) environment(c *corev1.Container, img *image, root string) ([]string, func(string) string, error) {
	p := w.current()
	values := map[string]string{}
	for _, from := range c.EnvFrom {
		data, err := w.envFrom(p, from)
		if err != nil {
			return nil, nil, err
		}
		for k, v := range data {
			values[from.Prefix+k] = v
		}
	}
	mapping := expansion.MappingFuncFor(values)
	for _, e := range c.Env {
		value, found := expansion.Expand(e.Value, mapping), true
		if e.ValueFrom != nil {
			var err error
			if value, found, err = w.envValue(p, c, e.ValueFrom); err != nil {
				return nil, nil, err
			}
		}
		if found {
			values[e.Name] = value
		}
	}
	base := []string{
		"PATH=" + w.k.pathDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "HOSTNAME=" + p.Name,
		"SANDBOX_ROOT=" + root,
		"SANDBOX_ADDRESS=" + w.address(), // where the process listens: the pod's address on this machine
		"SANDBOX_CONTROL=" + w.k.cfg.Control,
		"SANDBOX_STORE=" + w.k.stores + "/" + p.Namespace + "/" + releaseOf(p),
	}
	env := append(base, img.env...)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, name+"="+values[name])
	}
	known := map[string]string{"SANDBOX_ROOT": root, "SANDBOX_ADDRESS": w.address()}
	expand := expansion.MappingFuncFor(values, known)
	return env, func(s string) string { return expansion.Expand(s, expand) }, nil
}

// releaseOf gives the release a pod belongs to, for its data.
func releaseOf(p *corev1.Pod) string {
	if r := p.Labels["app.kubernetes.io/instance"]; r != "" {
		return r
	}
	return p.Name
}

func (w *podWorker) envFrom(p *corev1.Pod, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		cm, err := w.k.configMaps.ConfigMaps(p.Namespace).Get(from.ConfigMapRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && ptr.Deref(from.ConfigMapRef.Optional, false) {
				return nil, nil
			}
			return nil, fmt.Errorf("configmap %q not found", from.ConfigMapRef.Name)
		}
		return cm.Data, nil
	case from.SecretRef != nil:
		secret, err := w.k.secrets.Secrets(p.Namespace).Get(from.SecretRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && ptr.Deref(from.SecretRef.Optional, false) {
				return nil, nil
			}
			return nil, fmt.Errorf("secret %q not found", from.SecretRef.Name)
		}
		data := map[string]string{}
		for k, v := range secret.Data {
			data[k] = string(v)
		}
		return data, nil
	}
	return nil, nil
}

func (w *podWorker) envValue(p *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		switch from.FieldRef.FieldPath {
		case "status.podIP", "status.podIPs":
			return w.ip, true, nil
		case "status.hostIP", "status.hostIPs":
			return w.node.ip, true, nil
		case "spec.nodeName":
			return p.Spec.NodeName, true, nil
		case "spec.serviceAccountName":
			return p.Spec.ServiceAccountName, true, nil
		}
		value, err = fieldpath.ExtractFieldPathAsString(p, from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resource.ExtractResourceValueByContainerName(from.ResourceFieldRef, p, c.Name)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		optional := ptr.Deref(ref.Optional, false)
		cm, err := w.k.configMaps.ConfigMaps(p.Namespace).Get(ref.Name)
		if err != nil {
			if optional {
				return "", false, nil
			}
			return "", false, fmt.Errorf("configmap %q not found", ref.Name)
		}
		if v, ok := cm.Data[ref.Key]; ok {
			return v, true, nil
		}
		if optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, p.Namespace, ref.Name)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		optional := ptr.Deref(ref.Optional, false)
		secret, err := w.k.secrets.Secrets(p.Namespace).Get(ref.Name)
		if err != nil {
			if optional {
				return "", false, nil
			}
			return "", false, fmt.Errorf("secret %q not found", ref.Name)
		}
		if v, ok := secret.Data[ref.Key]; ok {
			return string(v), true, nil
		}
		if optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, p.Namespace, ref.Name)
	}
	return "", false, nil
}

// mkdirs makes the folder of a path.
func mkdirs(path string) error { return os.MkdirAll(filepath.Dir(path), 0o755) }
