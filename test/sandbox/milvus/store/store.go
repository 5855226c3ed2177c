// Package store runs the data behind the sandbox's Milvus: one Milvus Lite process for each data
// identity, started when first asked for.
//
// A data identity is what makes two Milvus processes see the same collections: the namespace and
// release they belong to, and the object storage of their *effective* configuration. A release whose
// Helm values were reset, and which therefore uses the MinIO in the cluster in place of the user's
// bucket, really finds an empty Milvus.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// startTimeout bounds the start of Milvus Lite, which takes 0.05 s on an idle machine.
const startTimeout = 20 * time.Second

// Bucket names the object storage of a Milvus configuration.
type Bucket struct {
	Address    string `json:"address"`    // minio.address
	BucketName string `json:"bucketName"` // minio.bucketName
	RootPath   string `json:"rootPath"`   // minio.rootPath
}

// Config is what the stores need.
type Config struct {
	Dir    string                // holds one file a store
	Python string                // virtual environment with the native milvus-lite wheel
	Start  func(*exec.Cmd) error // starts a process that dies with this one
	// Components gives the names of a release's Milvus components that are ready.
	Components func(namespace, release string) []string
}

type stores struct {
	ctx context.Context
	cfg Config

	mu  sync.Mutex
	all map[string]*process
}

// process is one running Milvus Lite.
type process struct {
	ready   chan struct{} // closed when address or err is set
	exited  chan struct{}
	once    sync.Once // closes exited
	address string
	err     error
}

// Serve answers on a loopback address until ctx ends, and gives the address as a URL. Below it,
// POST /<namespace>/<release> with a Bucket gives {"address":"host:port"} of the store, and GET the
// names of the release's components that are ready, as Milvus' components find each other in etcd.
func Serve(ctx context.Context, cfg Config) (string, error) {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return "", fmt.Errorf("making the folder of the Milvus stores: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for Milvus stores: %w", err)
	}
	s := &stores{ctx: ctx, cfg: cfg, all: map[string]*process{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{namespace}/{release}", s.serve)
	mux.HandleFunc("GET /{namespace}/{release}", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(append([]string{}, cfg.Components(r.PathValue("namespace"), r.PathValue("release"))...))
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	context.AfterFunc(ctx, func() { server.Close() })
	return "http://" + l.Addr().String(), nil
}

func (s *stores) serve(w http.ResponseWriter, r *http.Request) {
	var b Bucket
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		http.Error(w, "reading the bucket: "+err.Error(), http.StatusBadRequest)
		return
	}
	address, err := s.find(r.PathValue("namespace")+"/"+r.PathValue("release"), b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"address": address})
}

// find gives the address of a store, starting it when it does not run.
func (s *stores) find(owner string, b Bucket) (string, error) {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s|%q|%q|%q", owner, b.Address, b.BucketName, b.RootPath)))
	id := hex.EncodeToString(sum[:6])
	s.mu.Lock()
	p := s.all[id]
	if p != nil {
		select {
		case <-p.exited:
			p = nil
		default:
		}
	}
	if p == nil {
		p = &process{ready: make(chan struct{}), exited: make(chan struct{})}
		s.all[id] = p
		go s.run(id, owner, p)
	}
	s.mu.Unlock()
	<-p.ready
	return p.address, p.err
}

func (s *stores) run(id, owner string, p *process) {
	lib, err := findLibrary(s.cfg.Python)
	if err == nil {
		err = s.launch(id, owner, lib, p)
	}
	if err != nil {
		p.err = fmt.Errorf("starting Milvus Lite for %s: %w", owner, err)
		p.hasExited()
		close(p.ready)
	}
}

func (p *process) hasExited() { p.once.Do(func() { close(p.exited) }) }

func (s *stores) launch(id, owner, lib string, p *process) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	l.Close()
	log, err := os.OpenFile(filepath.Join(s.cfg.Dir, id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "store of %s on %s\n", owner, address)
	cmd := exec.Command(filepath.Join(lib, "milvus"), filepath.Join(s.cfg.Dir, id+".db"), address, "ERROR")
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.cfg.Dir, log, log
	cmd.Env = []string{"LD_LIBRARY_PATH=" + lib, "PATH=" + os.Getenv("PATH"), "HOME=" + s.cfg.Dir, "TMPDIR=" + s.cfg.Dir} // it logs into the temporary folder
	if err := s.cfg.Start(cmd); err != nil {
		log.Close()
		return err
	}
	stop := context.AfterFunc(s.ctx, func() { cmd.Process.Kill() })
	go func() {
		cmd.Wait()
		stop()
		log.Close()
		p.hasExited()
	}()
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended at once; see %s", log.Name())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			<-p.exited
			return fmt.Errorf("it does not listen on %s: %w", address, err)
		}
	}
	p.address = address
	close(p.ready)
	return nil
}

// findLibrary gives the folder of the native Milvus Lite below a Python environment.
func findLibrary(python string) (string, error) {
	found, err := filepath.Glob(filepath.Join(python, "lib", "python3*", "site-packages", "milvus_lite", "lib"))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no native milvus-lite below %s; build the sandbox first", python)
	}
	return filepath.Abs(found[0])
}

// Find asks a store endpoint (the URL of Serve with /<namespace>/<release>) for the store of a bucket.
func Find(ctx context.Context, url string, b Bucket) (string, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return "", err
	}
	var found struct{ Address string }
	err = ask(ctx, http.MethodPost, url, bytes.NewReader(body), &found)
	return found.Address, err
}

// Components asks a store endpoint for the components of the release that are ready.
func Components(ctx context.Context, url string) ([]string, error) {
	var ready []string
	err := ask(ctx, http.MethodGet, url, nil, &ready)
	return ready, err
}

func ask(ctx context.Context, method, url string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(answer)))
	}
	return json.Unmarshal(answer, into)
}
