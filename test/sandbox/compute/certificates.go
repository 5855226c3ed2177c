package compute

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// checkCertificate refuses what Google refuses for a global SslCertificate, and fills in the fields
// that Google computes. The texts on parsing and on an empty certificate are Google's
// (kubernetes/ingress-gce#294, cert-manager/cert-manager#1343). Of a pair that does not match and of
// an unsupported key no text is recorded anywhere public; these sentences are the sandbox's own, only the rule
// is Google's (RSA-2048 or ECDSA P-256, cloud.google.com/load-balancing/docs/ssl-certificates).
func checkCertificate(o Object) *Error {
	if o["type"] == "MANAGED" {
		return startManaged(o)
	}
	text, _ := o["certificate"].(string)
	keyText, _ := o["privateKey"].(string)
	if text == "" {
		return &Error{400, "invalid", "Invalid value for field 'resource.certificate': ''. A certificate must be specified for SSL certificate creation."}
	}
	unreadable := &Error{400, "sslCertificateCouldNotParseCert", "The SSL certificate could not be parsed."}
	var chain []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if strings.TrimSpace(string(rest)) != "" {
				return unreadable
			}
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return unreadable
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return unreadable
	}
	if len(chain) > 5 {
		return &Error{400, "sslCertificateCouldNotParseCert", "The SSL certificate chain is too long. At most 5 certificates are allowed."}
	}
	key := parseKey(keyText)
	if key == nil {
		return &Error{400, "sslCertificateCouldNotParseKey", "The SSL key could not be parsed."}
	}
	if failure := checkKeyType(key.Public()); failure != nil {
		return failure
	}
	public, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return &Error{400, "sslCertificateKeyMismatch", "The SSL certificate and private key do not match."}
	}
	o["type"], o["expireTime"] = "SELF_MANAGED", chain[0].NotAfter.UTC().Format("2006-01-02T15:04:05.000-07:00")
	o["subjectAlternativeNames"] = chain[0].DNSNames
	o["selfManaged"] = Object{"certificate": text}
	return nil
}

// parseKey reads an unencrypted PEM key in any of the three usual forms.
func parseKey(text string) crypto.Signer {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
				return k
			}
		case "EC PRIVATE KEY":
			if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return k
			}
		case "PRIVATE KEY":
			if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if signer, ok := k.(crypto.Signer); ok {
					return signer
				}
			}
		}
	}
}

func checkKeyType(public crypto.PublicKey) *Error {
	name := "unknown"
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() == 2048 {
			return nil
		}
		name = fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
		name = "ECDSA " + k.Curve.Params().Name
	default:
		name = fmt.Sprintf("%T", public)
	}
	return &Error{400, "sslCertificateUnsupportedKey", fmt.Sprintf("The SSL certificate uses a key type that is not supported: %s. Supported are RSA-2048 and ECDSA P-256.", name)}
}

// startManaged begins the provisioning of a Google-managed certificate.
func startManaged(o Object) *Error {
	managed, _ := o["managed"].(Object)
	domains, _ := managed["domains"].([]any)
	if len(domains) == 0 {
		return &Error{400, "invalid", "Invalid value for field 'resource.managed.domains': ''. At least one domain must be specified."}
	}
	status := Object{}
	for _, d := range domains {
		status[fmt.Sprint(d)] = "PROVISIONING"
	}
	managed["status"], managed["domainStatus"] = "PROVISIONING", status
	return nil
}
