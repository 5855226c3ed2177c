// Package testcluster gives Go tests a control plane with nodes: the real thing, started once a test
// process, since Kubernetes' components cannot start twice in one.
package testcluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"sandbox/authority"
	"sandbox/controlplane"
	"sandbox/nodes"
)

// Speed is the factor of the nodes.
const Speed = 20

// Cluster is a running control plane with its nodes.
type Cluster struct {
	*controlplane.Cluster
	Nodes *nodes.Kubelet
	Dir   string
	// Net is the number of the loopback ranges in use.
	Net  int
	stop func()
}

// Start needs .cache/bin/milvus and .cache/python, which test/sandbox/build.mjs makes.
func Start() (*Cluster, error) {
	quiet := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(quiet)
	if err := quiet.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL"}); err != nil {
		return nil, err
	}
	klog.SetOutput(io.Discard)
	cache, err := filepath.Abs("../../../.cache")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cache, "bin", "milvus")); err != nil {
		return nil, fmt.Errorf("%w; build the sandbox first: node test/sandbox/build.mjs", err)
	}
	dir, err := os.MkdirTemp("", "testcluster-")
	if err != nil {
		return nil, err
	}
	number, reservation, err := reserveNet()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cluster{Dir: dir, Net: number}
	c.stop = func() {
		cancel()
		if c.Nodes != nil {
			c.Nodes.Wait()
		}
		if c.Cluster != nil {
			c.Cluster.Close()
		}
		reservation.Close()
		os.RemoveAll(dir)
	}
	ca, err := authority.New(dir, "ca", "test cluster CA")
	if err != nil {
		c.stop()
		return nil, err
	}
	c.Cluster, err = controlplane.Start(ctx, controlplane.Config{Dir: dir, Authority: ca, TokenWebhook: "http://127.0.0.1:1/none",
		Progress: func(string) {}, Fatal: func(component string, err error) {
			if ctx.Err() == nil {
				panic(fmt.Sprintf("%s ended: %v", component, err))
			}
		}})
	if err != nil {
		c.stop()
		return nil, err
	}
	c.Nodes, err = nodes.Start(ctx, nodes.Config{Kube: c.Kube, Dir: filepath.Join(dir, "nodes"), Speed: func() float64 { return Speed }, Net: number,
		Project: controlplane.Project, Region: controlplane.Region, Zone: controlplane.Zone, Cache: cache,
		Binary: func(name string) string { return filepath.Join(cache, "bin", name) },
		Issue: func(name, cn string, orgs, dnsNames []string, ips []net.IP) (string, string, error) {
			return ca.IssueFiles(name, authority.Request{CommonName: cn, Organizations: orgs, DNSNames: dnsNames, Addresses: ips})
		}})
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// Stop ends everything and removes the files.
func (c *Cluster) Stop() { c.stop() }

// Wait asks until the answer is yes; the error names what was waited for.
func Wait(what string, limit time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %s", what, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// reserveNet takes a number for the loopback ranges that no sandbox uses, from the top, by the
// listener with which sandboxes hold theirs (cmd/sandbox).
func reserveNet() (int, net.Listener, error) {
	for n := 11; n > 0; n-- {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:10250", 20+n)); err == nil {
			return n, l, nil
		}
	}
	return 0, nil, errors.New("all loopback ranges for sandboxes are taken")
}
