// Package authority issues X.509 certificates: for the parts of the cluster, and as the public
// certificate authority behind Google-managed certificates.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Authority is a certificate authority with a P-256 key, kept in files of one directory.
type Authority struct {
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial atomic.Int64
}

// Request describes a certificate to issue.
type Request struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	Addresses     []net.IP
	// Lifetime is how long the certificate is valid from now; zero means ten days.
	Lifetime time.Duration
}

// New makes an authority and writes <name>.crt and <name>.key into dir.
func New(dir, name, commonName string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating the key of %s: %w", commonName, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("creating the certificate of %s: %w", commonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", commonName, err)
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	// The serial starts from the clock, so that two sandboxes never issue the same number.
	a.serial.Store(time.Now().UnixNano())
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return a, a.write(name, encodeCertificate(der), keyPEM)
}

// Path names a file in the authority's directory.
func (a *Authority) Path(name string) string { return filepath.Join(a.dir, name) }

// Certificate is the authority's own certificate in PEM.
func (a *Authority) Certificate() []byte { return encodeCertificate(a.cert.Raw) }

// Issue signs a certificate for a new P-256 key; both are PEM, the certificate without the authority's own.
func (a *Authority) Issue(r Request) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating the key of %s: %w", r.CommonName, err)
	}
	lifetime := r.Lifetime
	if lifetime == 0 {
		lifetime = 240 * time.Hour
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial.Add(1)),
		Subject:      pkix.Name{CommonName: r.CommonName, Organization: r.Organizations},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    r.DNSNames, IPAddresses: r.Addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the certificate of %s: %w", r.CommonName, err)
	}
	keyPEM, err = encodeKey(key)
	return encodeCertificate(der), keyPEM, err
}

// IssueFiles issues into <name>.crt and <name>.key of the authority's directory.
func (a *Authority) IssueFiles(name string, r Request) (certFile, keyFile string, err error) {
	cert, key, err := a.Issue(r)
	if err != nil {
		return "", "", err
	}
	if err := a.write(name, cert, key); err != nil {
		return "", "", err
	}
	return a.Path(name + ".crt"), a.Path(name + ".key"), nil
}

// WriteKey makes a P-256 key in <name>.key, for the signing of service account tokens.
func (a *Authority) WriteKey(name string) (keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("generating the key %s: %w", name, err)
	}
	b, err := encodeKey(key)
	if err != nil {
		return "", err
	}
	return a.Path(name + ".key"), os.WriteFile(a.Path(name+".key"), b, 0o600)
}

func (a *Authority) write(name string, cert, key []byte) error {
	if err := os.WriteFile(a.Path(name+".crt"), cert, 0o644); err != nil {
		return fmt.Errorf("writing the certificate %s: %w", name, err)
	}
	if err := os.WriteFile(a.Path(name+".key"), key, 0o600); err != nil {
		return fmt.Errorf("writing the key %s: %w", name, err)
	}
	return nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
