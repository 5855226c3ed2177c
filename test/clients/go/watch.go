package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	attemptsPerSecond = 10
	attemptLimit      = time.Second
)

// way is one way to Milvus, as a line of JSON on standard input names it.
type way struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// ServerName turns TLS on; it is also the authority of the calls.
	ServerName string `json:"serverName"`
	// CA is a PEM file with the authorities to trust; without it the certificate is not checked.
	CA string `json:"ca"`
}

// second counts the attempts that began within it.
type second struct {
	attempts, read int
}

// wayWatch is what was seen on one way.
type wayWatch struct {
	way
	seconds []second
	errors  map[string]int
}

// watchReport is what watch prints at its end. Seconds count from Began, when the first way was named.
type watchReport struct {
	Began   time.Time `json:"began"`
	Seconds int       `json:"seconds"`
	// Lost are the seconds in which no attempt on any way read the entity.
	Lost []int       `json:"lost"`
	Ways []wayReport `json:"ways"`
}

type wayReport struct {
	Name     string `json:"name"`
	Attempts int    `json:"attempts"`
	Read     int    `json:"read"`
	// Served are the seconds in which an attempt on this way read the entity, as pairs of the first and the last.
	Served [][2]int `json:"served"`
	// Errors counts the attempts that failed, by the reason.
	Errors map[string]int `json:"errors"`
}

// watchCommand reads one entity of a collection ten times a second on every way to Milvus, as clients that have just
// started would: each attempt opens a connection, queries by id, and has one second. Each line of standard input adds a
// way, such as
//
//	{"name":"Layer 7","address":"10.0.0.1:443","serverName":"milvus.example","ca":"ca.crt"}
//
// It ends when standard input ends or at SIGTERM, and then prints a watchReport.
func watchCommand(args []string) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	collection := flags.String("collection", "", "collection to read")
	id := flags.Int64("id", 1, "primary key of the entity to read")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	w := &watcher{request: &milvuspb.QueryRequest{
		CollectionName: *collection, Expr: fmt.Sprintf("id in [%d]", *id), OutputFields: []string{"id"},
	}}
	ended := make(chan error, 1)
	go func() { ended <- w.follow(ctx, os.Stdin) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	stop()
	if err != nil {
		return err
	}
	report, err := w.report()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

type watcher struct {
	began   time.Time
	request *milvuspb.QueryRequest

	attempts sync.WaitGroup
	mu       sync.Mutex
	stopped  bool
	ways     []*wayWatch
}

// follow starts an endless watch for every way that input names, until input ends.
func (w *watcher) follow(ctx context.Context, input io.Reader) error {
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		var one way
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return fmt.Errorf("reading a way from %q: %w", lines.Text(), err)
		}
		transport, err := one.credentials()
		if err != nil {
			return err
		}
		seen := &wayWatch{way: one, errors: map[string]int{}}
		w.mu.Lock()
		if len(w.ways) == 0 {
			w.began = time.Now()
		}
		w.ways = append(w.ways, seen)
		w.mu.Unlock()
		go w.try(ctx, seen, transport)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the ways: %w", err)
	}
	return nil
}

// try makes the attempts on one way. An attempt that takes long does not keep the next one.
func (w *watcher) try(ctx context.Context, seen *wayWatch, transport credentials.TransportCredentials) {
	tick := time.NewTicker(time.Second / attemptsPerSecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return
		}
		at := int(time.Since(w.began) / time.Second)
		w.attempts.Add(1)
		w.mu.Unlock()
		go func() {
			defer w.attempts.Done()
			err := w.attempt(seen.way, transport)
			w.mu.Lock()
			defer w.mu.Unlock()
			for len(seen.seconds) <= at {
				seen.seconds = append(seen.seconds, second{})
			}
			seen.seconds[at].attempts++
			if err == nil {
				seen.seconds[at].read++
			} else {
				seen.errors[err.Error()]++
			}
		}()
	}
}

// attempt opens a connection and reads the entity once.
func (w *watcher) attempt(one way, transport credentials.TransportCredentials) error {
	ctx, cancel := context.WithTimeout(context.Background(), attemptLimit)
	defer cancel()
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if one.ServerName != "" {
		options = append(options, grpc.WithAuthority(one.ServerName))
	}
	connection, err := grpc.DialContext(ctx, one.Address, options...)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer connection.Close()
	answer, err := milvuspb.NewMilvusServiceClient(connection).Query(ctx, w.request)
	if err != nil {
		return fmt.Errorf("querying: %w", err)
	}
	if status := answer.GetStatus(); status.GetCode() != 0 || status.GetErrorCode() != 0 { // the second is of older versions
		return fmt.Errorf("querying: Milvus answers %s", status.GetReason())
	}
	for _, field := range answer.GetFieldsData() {
		if len(field.GetScalars().GetLongData().GetData()) == 1 {
			return nil
		}
	}
	return errors.New("querying: the entity is not in the answer")
}

func (one way) credentials() (credentials.TransportCredentials, error) {
	if one.ServerName == "" {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{ServerName: one.ServerName, NextProtos: []string{"h2"}}
	if one.CA == "" {
		config.InsecureSkipVerify = true
		return credentials.NewTLS(config), nil
	}
	pem, err := os.ReadFile(one.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", one.CA)
	}
	return credentials.NewTLS(config), nil
}

// report ends the attempts, waits for those under way and sums up. The last, unfinished second does not count.
func (w *watcher) report() (watchReport, error) {
	w.mu.Lock()
	w.stopped = true
	none := len(w.ways) == 0
	w.mu.Unlock()
	if none {
		return watchReport{}, errors.New("no way to Milvus was named")
	}
	full := int(time.Since(w.began) / time.Second)
	w.attempts.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	report := watchReport{Began: w.began, Seconds: full, Lost: []int{}, Ways: []wayReport{}}
	served := make([]bool, full)
	for _, seen := range w.ways {
		one := wayReport{Name: seen.Name, Served: [][2]int{}, Errors: seen.errors}
		for at, s := range seen.seconds[:min(full, len(seen.seconds))] {
			one.Attempts += s.attempts
			one.Read += s.read
			if s.read == 0 {
				continue
			}
			served[at] = true
			if last := len(one.Served) - 1; last >= 0 && one.Served[last][1] == at-1 {
				one.Served[last][1] = at
			} else {
				one.Served = append(one.Served, [2]int{at, at})
			}
		}
		report.Ways = append(report.Ways, one)
	}
	for at, ok := range served {
		if !ok {
			report.Lost = append(report.Lost, at)
		}
	}
	return report, nil
}
