package nodes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// milvusTag is the form of a tag of the Milvus image, as on Docker Hub: v2.5.16, v2.6.0-rc1.
var milvusTag = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9a-z.-]+)?$`)

// image is what an image name of the sandbox stands for.
type image struct {
	entrypoint []string // replaced by the container's command
	arguments  []string // replaced by the container's args
	env        []string // the image's own environment
}

// findImage gives what runs for an image name; the error is what the container runtime says of an
// image that no registry has.
//
//	sandbox/milvus:v<version>  the milvus program as that version of Milvus
//	sandbox/pause              a process that waits
//	sandbox/exec               the container's command, a program of this machine
func findImage(name string) (*image, error) {
	repository, tag, _ := strings.Cut(name, ":")
	switch repository {
	case "sandbox/milvus":
		if milvusTag.MatchString(tag) {
			return &image{arguments: []string{"milvus", "run", "standalone"}, env: []string{"MILVUS_GIT_BUILD_TAGS=" + tag}}, nil
		}
	case "sandbox/pause":
		return &image{entrypoint: []string{"sleep", "infinity"}}, nil
	case "sandbox/exec":
		return &image{}, nil
	}
	if tag == "" {
		tag = "latest"
	}
	full := repository + ":" + tag
	if host, _, found := strings.Cut(repository, "/"); !found {
		full = "docker.io/library/" + full
	} else if !strings.ContainsAny(host, ".:") {
		full = "docker.io/" + full
	}
	return nil, fmt.Errorf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", full, full, full)
}

// commandLine gives the program and arguments of a container, by the rules of
// "Define a command and arguments for a container" (kubernetes.io/docs).
func commandLine(img *image, c *corev1.Container, expand func(string) string) []string {
	entrypoint, arguments := img.entrypoint, img.arguments
	if len(c.Command) > 0 {
		entrypoint, arguments = c.Command, nil
	}
	if len(c.Args) > 0 {
		arguments = c.Args
	}
	line := append(append([]string{}, entrypoint...), arguments...)
	for i := range line {
		line[i] = expand(line[i])
	}
	return line
}

// findProgram resolves a program as a container would: its own files first, then PATH.
func findProgram(name, root string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if p := filepath.Join(root, name); isFile(p) {
			return p, nil
		}
		if isFile(name) {
			return name, nil
		}
		return "", fmt.Errorf("exec: %q: stat %s: no such file or directory", name, name)
	}
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				if p := filepath.Join(dir, name); isFile(p) {
					return p, nil
				}
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}

// inRoot gives arguments that name a file of the container the path it has on this machine.
func inRoot(args []string, root string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if strings.HasPrefix(a, "/") {
			if p := filepath.Join(root, a); exists(p) {
				out[i] = p
			}
		}
	}
	return out
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

func isFile(p string) bool {
	s, err := os.Stat(p)
	return err == nil && !s.IsDir()
}

// command builds the process of a container or of an exec in it.
func command(line []string, root string, env []string) (*exec.Cmd, error) {
	program, err := findProgram(line[0], root, env)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Args = append([]string{line[0]}, inRoot(line[1:], root)...)
	cmd.Env, cmd.Dir = env, root
	return cmd, nil
}

// components gives the Milvus components of a release that are ready, by their label.
func (k *Kubelet) components(namespace, release string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ready []string
	for _, w := range k.workers {
		w.mu.Lock()
		if p := w.pod; p.Namespace == namespace && releaseOf(p) == release && p.Labels["component"] != "" {
			all := !w.isDeleting()
			for _, c := range w.containers {
				all = all && (c.init || c.ready)
			}
			if all {
				ready = append(ready, p.Labels["component"])
			}
		}
		w.mu.Unlock()
	}
	return ready
}
