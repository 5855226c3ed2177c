package milvus

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"time"
)

// tlsConfig gives what the proxy's port speaks: nil in plain text, one-way TLS in mode 1, mutual TLS
// in mode 2 (internal/distributed/proxy/service.go startExternalGrpc).
func (c *component) tlsConfig() (*tls.Config, error) {
	mode := c.config.number("common.security.tlsMode")
	if mode != 1 && mode != 2 {
		return nil, nil
	}
	certificate, err := c.serverCertificate()
	if err != nil {
		message := "proxy can't create creds"
		if mode == 2 {
			message = "proxy cant load x509 key pair"
		}
		logWarn("proxy/service.go", message, "error", err.Error())
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if mode == 1 {
		return config, nil
	}
	pem, err := os.ReadFile(c.file(c.config.text("tls.caPemPath")))
	if err != nil {
		logWarn("proxy/service.go", "failed read ca pem", "error", err.Error())
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		logWarn("proxy/service.go", "fail to append ca to cert")
		return nil, fmt.Errorf("fail to append ca to cert")
	}
	config.ClientAuth, config.ClientCAs, config.MinVersion = tls.RequireAndVerifyClientCert, pool, tls.VersionTLS13
	return config, nil
}

// serverCertificate reads the configured files; the default paths hold the image's own certificate
// when nothing is mounted there.
func (c *component) serverCertificate() (tls.Certificate, error) {
	certificate, key := c.config.text("tls.serverPemPath"), c.config.text("tls.serverKeyPath")
	if certificate == defaults["tls.serverPemPath"] && key == defaults["tls.serverKeyPath"] {
		if _, err := os.Stat(c.file(certificate)); os.IsNotExist(err) {
			return imageCertificate()
		}
	}
	pair, err := tls.LoadX509KeyPair(c.file(certificate), c.file(key))
	if err != nil {
		if path, ok := err.(*os.PathError); ok { // as the process in the container sees it
			path.Path = c.inContainer(path.Path)
		}
	}
	return pair, err
}

// inContainer undoes file.
func (c *component) inContainer(path string) string {
	for _, configured := range []string{c.config.text("tls.serverPemPath"), c.config.text("tls.serverKeyPath")} {
		if c.file(configured) == path {
			return configured
		}
	}
	return path
}

// imageCertificate makes a certificate like the one in Milvus' image (configs/cert/server.pem:
// CN=localhost, those names, those dates). The key is new in each process: the image's is public.
func imageCertificate() (tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{Country: []string{"CN"}, CommonName: "localhost"},
		NotBefore:    time.Date(2022, 5, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2032, 4, 28, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		DNSNames:     []string{"localhost", "*.ronething.cn", "*.ronething.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
