// Command sandbox runs a GKE-shaped Kubernetes cluster with its load balancers on loopback addresses.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	klog1 "k8s.io/klog"
	"k8s.io/klog/v2"
)

const usage = `usage: sandbox up --dir DIRECTORY [--speed FACTOR] [--helm 3|4] [--cache DIRECTORY] [--until-stdin-closes]

Prints one line of JSON when ready and stays up until SIGTERM or SIGINT.
`

func main() {
	if len(os.Args) < 2 || os.Args[1] != "up" {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	flags := flag.NewFlagSet("sandbox up", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage); flags.PrintDefaults() }
	options := options{}
	flags.StringVar(&options.dir, "dir", "", "directory for state and logs; made when missing, never deleted")
	flags.Float64Var(&options.speed, "speed", 60, "factor by which everything that takes Google minutes is faster")
	flags.IntVar(&options.helm, "helm", 3, "major version behind the name helm: 3 or 4")
	flags.StringVar(&options.cache, "cache", "", "directory with the built programs in bin (default: where this program lies)")
	untilStdinCloses := flags.Bool("until-stdin-closes", false, "end when standard input closes")
	_ = flags.Parse(os.Args[2:])
	if options.dir == "" || flags.NArg() > 0 || (options.helm != 3 && options.helm != 4) {
		flags.Usage()
		os.Exit(2)
	}
	if err := options.complete(); err != nil {
		fail(err)
	}
	logComponents(options.dir)

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *untilStdinCloses {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	s, err := up(ctx, options)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(s.document)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.fatal:
		}
	}
	if ctx.Err() != nil {
		err = nil // asked to end, be it before it was ready
	}
	cancel()
	if s != nil {
		s.close()
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sandbox:", err)
	os.Exit(1)
}

// logComponents sends the Kubernetes components' logs to files.
func logComponents(dir string) {
	set := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(set)
	_ = set.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-v=1", "-log_file=" + filepath.Join(dir, "kubernetes.log"), "-log_file_max_size=500"})
	// gke-managed-certs still logs through the first klog.
	first := flag.NewFlagSet("klog1", flag.ExitOnError)
	klog1.InitFlags(first)
	_ = first.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-log_file=" + filepath.Join(dir, "managed-certificates.log")})
}
