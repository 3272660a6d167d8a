package model

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

func certificateMeaning() schema.Meaning {
	return schema.Meaning{
		Values: pemChecks(),
		Records: map[string]schema.RecordCheck{
			"cert_matches_key":         pairCheck("cert", "key", "certificate does not match key"),
			"cert_alt_matches_key_alt": pairCheck("cert_alt", "key_alt", "alternative certificate does not match key"),
			"cert_types_differ":        checkTypesDiffer,
		},
		Finish: sortSNIs,
	}
}

func caCertificateMeaning() schema.Meaning {
	return schema.Meaning{
		Values:  pemChecks(),
		Records: map[string]schema.RecordCheck{"ca_certificate": checkCA},
		Finish: func(c schema.Change) error {
			text, _ := c.Next["cert"].(string)
			cert, err := parseCertificate(text)
			if err != nil {
				return nil // refused before
			}
			sum := sha256.Sum256(cert.Raw)
			c.Next["cert_digest"] = hex.EncodeToString(sum[:])
			return nil
		},
	}
}

func pemChecks() map[string]schema.ValueCheck {
	return map[string]schema.ValueCheck{
		"certificate": func(v any) string {
			s, _ := v.(string)
			if _, err := parseCertificate(s); err != nil {
				return "invalid certificate: " + err.Error()
			}
			return ""
		},
		"private_key": func(v any) string {
			s, _ := v.(string)
			if _, err := parsePrivateKey(s); err != nil {
				return "invalid key: " + err.Error()
			}
			return ""
		},
	}
}

// parseCertificate reads the first certificate of a PEM text.
func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// parsePrivateKey reads the first private key of a PEM text: PKCS 8, PKCS 1 or SEC 1. The
// parameters that openssl writes before an EC key are skipped.
func parsePrivateKey(text string) (crypto.Signer, error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("no PEM private key")
		}
		switch block.Type {
		case "EC PARAMETERS":
			continue
		case "RSA PRIVATE KEY":
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, errors.New("the key cannot sign")
			}
			return signer, nil
		}
		return nil, errors.New("no private key but a PEM " + block.Type)
	}
}

// pairCheck holds a certificate against its key. What is absent, or does not parse, was
// refused before or need not be there.
func pairCheck(cert, key, text string) schema.RecordCheck {
	return func(b schema.Body) string {
		c, okCert := parsed(b[cert], parseCertificate)
		k, okKey := parsed(b[key], parsePrivateKey)
		if !okCert || !okKey {
			return ""
		}
		pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if ok && pub.Equal(k.Public()) {
			return ""
		}
		return text
	}
}

func parsed[T any](v any, parse func(string) (T, error)) (T, bool) {
	var zero T
	s, ok := v.(string)
	if !ok {
		return zero, false
	}
	got, err := parse(s)
	return got, err == nil
}

func checkTypesDiffer(b schema.Body) string {
	cert, ok := parsed(b["cert"], parseCertificate)
	alt, okAlt := parsed(b["cert_alt"], parseCertificate)
	if !ok || !okAlt || keyType(cert.PublicKey) != keyType(alt.PublicKey) {
		return ""
	}
	return "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), " +
		"the provided certificates were both of the same type"
}

func keyType(pub any) string {
	switch pub.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "ECDSA"
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

// checkCA wants one certificate that may sign others and has not expired.
func checkCA(b schema.Body) string {
	text, _ := b["cert"].(string)
	if strings.Count(text, "-----BEGIN CERTIFICATE-----") > 1 {
		return "please submit only one certificate at a time"
	}
	cert, err := parseCertificate(text)
	if err != nil {
		return ""
	}
	// Every write sets updated_at, so it is the time of this one.
	if now, ok := b["updated_at"].(float64); ok && cert.NotAfter.Unix() < int64(now) {
		return `certificate expired, "Not After" time is in the past`
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return `certificate does not appear to be a CA because it is missing the "CA" basic constraint`
	}
	return ""
}

// sortSNIs refuses names that are said twice and puts the others in the order in which they
// are shown.
func sortSNIs(c schema.Change) error {
	list, _ := c.Next["snis"].([]any)
	seen := map[any]bool{}
	for _, n := range list {
		if seen[n] {
			return schema.Violation(fault.Tree{"snis": n.(string) + " is duplicated"})
		}
		seen[n] = true
	}
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return nil
}
