package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/secret"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
	"k8s.io/utils/ptr"
)

const (
	// volumeRetry is the first delay of the kubelet's volume manager after a failed mount; it doubles
	// up to volumeRetryMax (pkg/util/goroutinemap/exponentialbackoff).
	volumeRetry    = 500 * time.Millisecond
	volumeRetryMax = 2 * time.Minute
	// volumeRefresh is how long a changed ConfigMap or Secret takes to reach a mounted volume: the
	// kubelet's sync period.
	volumeRefresh = time.Minute
)

func (w *podWorker) volumeDir(name string) string { return filepath.Join(w.dir, "volumes", name) }

// mountVolumes fills the pod's volumes, retrying as the kubelet does; false when the pod ends
// before.
func (w *podWorker) mountVolumes() bool {
	for delay := volumeRetry; ; delay = min(2*delay, volumeRetryMax) {
		volume, err := w.fillVolumes()
		if err == nil {
			w.mu.Lock()
			w.mounted = true
			w.mu.Unlock()
			w.changed()
			return true
		}
		if w.isDeleting() {
			return false
		}
		w.event(corev1.EventTypeWarning, "FailedMount", "MountVolume.SetUp failed for volume %q : %v", volume, err)
		if !w.pause(delay) {
			return false
		}
	}
}

// fillVolumes writes every volume; on failure it names the volume.
func (w *podWorker) fillVolumes() (string, error) {
	w.mountOnce.Lock()
	defer w.mountOnce.Unlock()
	p := w.current()
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		dir := w.volumeDir(v.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return v.Name, err
		}
		payload, err := w.payload(p, v)
		if err != nil {
			return v.Name, err
		}
		if payload == nil {
			continue
		}
		writer, err := volumeutil.NewAtomicWriter(dir, "pod "+description(p)+" volume "+v.Name)
		if err != nil {
			return v.Name, err
		}
		if err := writer.Write(payload, nil); err != nil {
			return v.Name, err
		}
	}
	return "", nil
}

// payload gives the files of a volume, nil for one that starts empty.
func (w *podWorker) payload(p *corev1.Pod, v *corev1.Volume) (map[string]volumeutil.FileProjection, error) {
	switch {
	case v.EmptyDir != nil:
		return nil, nil
	case v.ConfigMap != nil:
		return w.configMapFiles(p, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.DefaultMode, ptr.Deref(v.ConfigMap.Optional, false))
	case v.Secret != nil:
		return w.secretFiles(p, v.Secret.SecretName, v.Secret.Items, v.Secret.DefaultMode, ptr.Deref(v.Secret.Optional, false))
	case v.DownwardAPI != nil:
		return w.downwardFiles(p, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		all := map[string]volumeutil.FileProjection{}
		for _, s := range v.Projected.Sources {
			files, err := w.projectedFiles(p, s, v.Projected.DefaultMode)
			if err != nil {
				return nil, err
			}
			for name, f := range files {
				all[name] = f
			}
		}
		return all, nil
	}
	return nil, errors.New("no volume plugin matched: the sandbox has configMap, secret, projected, downwardAPI and emptyDir")
}

func (w *podWorker) projectedFiles(p *corev1.Pod, s corev1.VolumeProjection, mode *int32) (map[string]volumeutil.FileProjection, error) {
	switch {
	case s.ConfigMap != nil:
		return w.configMapFiles(p, s.ConfigMap.Name, s.ConfigMap.Items, mode, ptr.Deref(s.ConfigMap.Optional, false))
	case s.Secret != nil:
		return w.secretFiles(p, s.Secret.Name, s.Secret.Items, mode, ptr.Deref(s.Secret.Optional, false))
	case s.DownwardAPI != nil:
		return w.downwardFiles(p, s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: s.ServiceAccountToken.ExpirationSeconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}}}
		if s.ServiceAccountToken.Audience != "" {
			request.Spec.Audiences = []string{s.ServiceAccountToken.Audience}
		}
		token, err := w.k.cfg.Kube.CoreV1().ServiceAccounts(p.Namespace).CreateToken(w.ctx, p.Spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("failed to fetch token: %w", err)
		}
		return map[string]volumeutil.FileProjection{s.ServiceAccountToken.Path: {Data: []byte(token.Status.Token), Mode: 0o600}}, nil
	}
	return nil, errors.New("no projection matched: the sandbox has configMap, secret, downwardAPI and serviceAccountToken")
}

func (w *podWorker) configMapFiles(p *corev1.Pod, name string, items []corev1.KeyToPath, mode *int32, optional bool) (map[string]volumeutil.FileProjection, error) {
	cm, err := w.k.configMaps.ConfigMaps(p.Namespace).Get(name)
	if err != nil {
		if !apierrors.IsNotFound(err) || !optional {
			return nil, fmt.Errorf("configmap %q not found", name)
		}
		cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name}}
	}
	return configmap.MakePayload(items, cm, mode, optional)
}

func (w *podWorker) secretFiles(p *corev1.Pod, name string, items []corev1.KeyToPath, mode *int32, optional bool) (map[string]volumeutil.FileProjection, error) {
	s, err := w.k.secrets.Secrets(p.Namespace).Get(name)
	if err != nil {
		if !apierrors.IsNotFound(err) || !optional {
			return nil, fmt.Errorf("secret %q not found", name)
		}
		s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name}}
	}
	return secret.MakePayload(items, s, mode, optional)
}

func (w *podWorker) downwardFiles(p *corev1.Pod, items []corev1.DownwardAPIVolumeFile, mode *int32) (map[string]volumeutil.FileProjection, error) {
	files := map[string]volumeutil.FileProjection{}
	for _, item := range items {
		var value string
		var err error
		if item.FieldRef != nil {
			value, err = fieldpath.ExtractFieldPathAsString(p, item.FieldRef.FieldPath)
		} else if item.ResourceFieldRef != nil {
			value, err = resource.ExtractResourceValueByContainerName(item.ResourceFieldRef, p, item.ResourceFieldRef.ContainerName)
		}
		if err != nil {
			return nil, err
		}
		files[filepath.Clean(item.Path)] = volumeutil.FileProjection{Data: []byte(value), Mode: ptr.Deref(item.Mode, ptr.Deref(mode, 0o644))}
	}
	return files, nil
}

// layOut makes a fresh root for a container and puts its volumes in. A mount of a whole volume
// follows later changes of it; a subPath is a copy of that moment, as a bind mount would stay.
func (w *podWorker) layOut(c *corev1.Container, root string) error {
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	mounts := append([]corev1.VolumeMount{}, c.VolumeMounts...)
	sort.SliceStable(mounts, func(i, j int) bool { return len(mounts[i].MountPath) < len(mounts[j].MountPath) })
	for _, m := range mounts {
		target := filepath.Join(root, m.MountPath)
		if err := mkdirs(target); err != nil {
			return err
		}
		if err := os.RemoveAll(target); err != nil {
			return err
		}
		source := w.volumeDir(m.Name)
		if m.SubPath == "" && m.SubPathExpr == "" {
			if err := os.Symlink(source, target); err != nil {
				return err
			}
			continue
		}
		if m.SubPathExpr != "" {
			return fmt.Errorf("volume mount %q: the sandbox has no subPathExpr", m.Name)
		}
		if strings.Contains(m.SubPath, "..") {
			return fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q", m.Name, c.Name)
		}
		from := filepath.Join(source, m.SubPath)
		if !exists(from) { // the kubelet makes a folder of a missing subPath
			if err := os.MkdirAll(from, 0o755); err != nil {
				return err
			}
		}
		real, err := filepath.EvalSymlinks(from)
		if err != nil {
			return err
		}
		if !isFile(real) {
			if err := os.Symlink(real, target); err != nil {
				return err
			}
			continue
		}
		if err := copyFile(real, target); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// sourceChanged refreshes the volumes of the pods that mount a ConfigMap or Secret, after the
// kubelet's delay.
func (k *Kubelet) sourceChanged(kind, key string) {
	namespace, name, _ := strings.Cut(key, "/")
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		w.mu.Lock()
		if w.mounted && !w.refreshing && w.pod.Namespace == namespace && mountsSource(w.pod, kind, name) {
			w.refreshing = true
			go w.refresh()
		}
		w.mu.Unlock()
	}
}

func (w *podWorker) refresh() {
	select {
	case <-time.After(w.k.after(volumeRefresh)):
	case <-w.ctx.Done():
		return
	}
	w.mu.Lock()
	w.refreshing = false
	w.mu.Unlock()
	if volume, err := w.fillVolumes(); err != nil && !errors.Is(w.ctx.Err(), context.Canceled) && !w.isDeleting() {
		p := w.current()
		log.Printf("nodes: refreshing volume %s of pod %s/%s: %v", volume, p.Namespace, p.Name, err)
	}
}

// mountsSource tells whether a volume of the pod comes from the ConfigMap or Secret.
func mountsSource(p *corev1.Pod, kind, name string) bool {
	for _, v := range p.Spec.Volumes {
		switch {
		case v.ConfigMap != nil && kind == "ConfigMap" && v.ConfigMap.Name == name,
			v.Secret != nil && kind == "Secret" && v.Secret.SecretName == name:
			return true
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil && kind == "ConfigMap" && s.ConfigMap.Name == name || s.Secret != nil && kind == "Secret" && s.Secret.Name == name {
					return true
				}
			}
		}
	}
	return false
}
