// Command read reads a Milvus collection as a Go user would and prints the number of its entities.
//
//	read --address HOST:PORT --collection NAME [--server-name NAME --ca FILE] [--user U --password P]
//
//	read watch --collection NAME
//
// With --server-name the connection is TLS. The exit code is 1 when it fails, with the reason on stderr. What watch does
// is told at its function.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "watch" {
		if err := watchCommand(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	address := flag.String("address", "", "host and port")
	serverName := flag.String("server-name", "", "name in the certificate; turns TLS on")
	ca := flag.String("ca", "", "PEM file with the certificate authority; the system's without")
	collection := flag.String("collection", "", "collection to read")
	user := flag.String("user", "", "user name")
	password := flag.String("password", "", "password")
	flag.Parse()
	n, err := read(*address, *serverName, *ca, *collection, *user, *password)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n)
}

func read(address, serverName, ca, collection, user, password string) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	transport := grpc.WithTransportCredentials(insecure.NewCredentials())
	options := []grpc.DialOption{transport}
	if serverName != "" {
		config := &tls.Config{ServerName: serverName, NextProtos: []string{"h2"}}
		if ca != "" {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return 0, fmt.Errorf("reading the certificate authority: %w", err)
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return 0, fmt.Errorf("no certificate in %s", ca)
			}
		}
		options = []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithAuthority(serverName)}
	}
	options = append(options, grpc.WithBlock(), grpc.FailOnNonTempDialError(true), grpc.WithReturnConnectionError())
	c, err := client.NewClient(ctx, client.Config{Address: address, Username: user, Password: password, EnableTLSAuth: serverName != "", DialOptions: options})
	if err != nil {
		return 0, fmt.Errorf("connecting to %s: %w", address, err)
	}
	defer c.Close()
	rows, err := c.Query(ctx, collection, nil, "", []string{"count(*)"})
	if err != nil {
		return 0, fmt.Errorf("counting the entities of %s: %w", collection, err)
	}
	column, ok := rows.GetColumn("count(*)").(*entity.ColumnInt64)
	if !ok || column.Len() == 0 {
		return 0, fmt.Errorf("counting the entities of %s: no count in the answer", collection)
	}
	return column.Data()[0], nil
}
