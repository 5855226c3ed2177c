// Command gcloud stands in for two of Google's programs, told apart by the name it is called by: gcloud, of
// which it knows what concerns a load balancer's addresses, SSL policies and firewall rules, and
// gke-gcloud-auth-plugin, the exec credential plugin of GKE's kubeconfigs.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sandbox is what the file beside the program says of the sandbox it belongs to.
type sandbox struct {
	Control string `json:"control"`
	Compute string `json:"compute"`
	Project string `json:"project"`
}

func main() {
	name := filepath.Base(os.Args[0])
	var err error
	if name == "gke-gcloud-auth-plugin" {
		err = credential(os.Args[1:])
	} else {
		err = gcloud(os.Args[1:])
	}
	if err != nil {
		var usage *usageError
		fmt.Fprintln(os.Stderr, err)
		if errors.As(err, &usage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// find reads sandbox.json beside the link by which this program was started. A bare name was found on PATH.
func find() (*sandbox, error) {
	path := os.Args[0]
	if !strings.ContainsRune(path, filepath.Separator) {
		found, err := exec.LookPath(path)
		if err != nil {
			return nil, fmt.Errorf("ERROR: %s does not find itself on PATH: %w", path, err)
		}
		path = found
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "sandbox.json"))
	if err != nil {
		return nil, fmt.Errorf("ERROR: this is a stand-in that works inside a sandbox only: %w", err)
	}
	s := &sandbox{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("ERROR: reading sandbox.json: %w", err)
	}
	return s, nil
}
