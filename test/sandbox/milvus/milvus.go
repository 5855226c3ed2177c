// Package milvus behaves, seen from outside, as one component of Milvus: its ports, certificates,
// health, logs and refusals to start are those of the version it is told to be, by the effective
// configuration of its pod. The data is a real Milvus Lite (package store), to which the proxy
// forwards every call it does not answer itself.
//
// Facts are from milvus-io/milvus: internal/distributed/proxy/{service,listener_manager}.go,
// internal/proxy/authentication_interceptor.go, internal/http, pkg/config, configs/milvus.yaml.
package milvus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/util/version"
)

// components are what `milvus run` knows.
var components = []string{"standalone", "mixcoord", "mixture", "rootcoord", "datacoord", "querycoord", "indexcoord", "proxy", "datanode", "querynode", "indexnode", "streamingnode", "cdc"}

// component is one running Milvus process.
type component struct {
	name    string
	tag     string // as the image is tagged: v2.5.16
	version *version.Version
	address string // where it listens
	home    string // what /milvus is in the container
	root    string
	store   string // URL of the store endpoint
	config  *configuration
}

// Main runs the command line and gives the exit code.
func Main(args, environ []string) int {
	if len(args) < 2 || args[0] != "run" || !slices.Contains(components, args[1]) {
		fmt.Fprintf(os.Stderr, "Usage: milvus run [%s]\n", strings.Join(components, "|"))
		return 1
	}
	name := args[1]
	if name == "mixture" { // mixcoord's older name on the command line
		name = "mixcoord"
	}
	c, err := newComponent(name, environ)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := c.run(ctx); err != nil {
		// Milvus panics when a component cannot start: a trace in the log and exit code 2
		fmt.Fprintf(os.Stderr, "panic: %v\n\ngoroutine 1 [running]:\ngithub.com/milvus-io/milvus/cmd/roles.runComponent[...].func1.1()\n\t/workspace/source/cmd/roles/roles.go\n", err)
		return 2
	}
	return 0
}

// newComponent reads the environment and the configuration files of the container.
func newComponent(name string, environ []string) (*component, error) {
	env := map[string]string{}
	for _, e := range environ {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	c := &component{name: name, tag: env["MILVUS_GIT_BUILD_TAGS"], address: env["SANDBOX_ADDRESS"], root: env["SANDBOX_ROOT"], store: env["SANDBOX_STORE"]}
	if c.tag == "" || c.address == "" || c.root == "" || c.store == "" {
		return nil, errors.New("MILVUS_GIT_BUILD_TAGS, SANDBOX_ADDRESS, SANDBOX_ROOT and SANDBOX_STORE must be set")
	}
	var err error
	if c.version, err = version.ParseSemantic(c.tag); err != nil {
		return nil, fmt.Errorf("reading the version of the image tag %q: %w", c.tag, err)
	}
	c.home = filepath.Join(c.root, "milvus")
	if c.config, err = readConfiguration(filepath.Join(c.home, "configs"), env); err != nil {
		return nil, err
	}
	return c, nil
}

// atLeast compares the version, pre-releases counting as the version itself.
func (c *component) atLeast(v string) bool {
	return c.version.WithPreRelease("").AtLeast(version.MustParseSemantic(v))
}

// servesClients tells whether this process is a Milvus proxy.
func (c *component) servesClients() bool { return c.name == "proxy" || c.name == "standalone" }

// file gives the path of a file of the container; relative ones are below /milvus.
func (c *component) file(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Join(c.root, path)
	}
	return filepath.Join(c.home, path)
}

func (c *component) listen(port string) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(c.address, port))
}

func (c *component) run(ctx context.Context) error {
	logInfo("roles/roles.go", "starting running Milvus components", "version", strings.TrimPrefix(c.tag, "v"), "component", c.name)
	for _, unknown := range c.config.warnings {
		logWarn("config/file_source.go", unknown)
	}
	health := &health{component: c.name}
	closeManagement, err := c.serveManagement(health)
	if err != nil {
		return err
	}
	defer closeManagement()
	if !c.servesClients() {
		health.set(true)
		logInfo("components/"+c.name+".go", c.name+" successfully started")
		<-ctx.Done()
		logInfo("roles/roles.go", "All components want to exit")
		return nil
	}
	p, err := newProxy(c)
	if err != nil {
		return err
	}
	health.set(true)
	logInfo("proxy/service.go", "start Proxy server done")
	return p.serve(ctx)
}
