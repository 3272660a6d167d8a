package model

import (
	"crypto"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"

	"github.com/sekifuda/sekifuda/model/schema"
)

func keyMeaning() schema.Meaning {
	return schema.Meaning{Records: map[string]schema.RecordCheck{
		"key_pair":     checkKeyPair,
		"key_material": checkKeyMaterial,
	}}
}

func jwtMeaning() schema.Meaning {
	return schema.Meaning{Values: map[string]schema.ValueCheck{"public_key": func(v any) string {
		s, _ := v.(string)
		if _, err := ParsePublicKey(s); err != nil {
			return "invalid key"
		}
		return ""
	}}}
}

// ParsePublicKey reads a public key from a PEM text: PKIX, PKCS 1, or a certificate's.
func ParsePublicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM public key")
	}
	switch block.Type {
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// checkKeyPair reads both keys of a PEM pair and holds them against each other.
func checkKeyPair(b schema.Body) string {
	public, hasPublic := plainText(b["public_key"])
	private, hasPrivate := plainText(b["private_key"])
	var pub crypto.PublicKey
	if hasPublic {
		var err error
		if pub, err = ParsePublicKey(public); err != nil {
			return "could not load public key"
		}
	}
	if !hasPrivate {
		return ""
	}
	key, err := parsePrivateKey(private)
	if err != nil {
		return "could not load private key" + err.Error()
	}
	eq, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if hasPublic && !(ok && eq.Equal(pub)) {
		return "public key does not match private key"
	}
	return ""
}

// plainText returns a text that is no vault reference.
func plainText(v any) (string, bool) {
	s, ok := v.(string)
	return s, ok && !schema.IsReference(s)
}

// checkKeyMaterial reads a JWK and holds its kid against the key's.
func checkKeyMaterial(b schema.Body) string {
	text, ok := b["jwk"].(string)
	if !ok {
		return ""
	}
	var jwk webKey
	if err := json.Unmarshal([]byte(text), &jwk); err != nil {
		return "could not json decode jwk string"
	}
	if kid, _ := b["kid"].(string); jwk.Kid != kid {
		return "kid in jwk.kid must be equal to keys.kid"
	}
	if !jwk.valid() {
		return "could not load JWK, likely not a valid key"
	}
	return ""
}

// webKey is what a JWK of any kind says of its public part.
type webKey struct {
	Kid string `json:"kid"`
	Kty string `json:"kty"`
	N   string `json:"n"`
	E   string `json:"e"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

func (k webKey) valid() bool {
	switch k.Kty {
	case "RSA":
		return len(decode64(k.N)) > 0 && len(decode64(k.E)) > 0
	case "EC":
		return k.validEC()
	case "OKP":
		size, known := map[string]int{"Ed25519": 32, "X25519": 32, "Ed448": 57, "X448": 56}[k.Crv]
		return known && len(decode64(k.X)) == size
	}
	return false
}

// validEC wants a point on the curve.
func (k webKey) validEC() bool {
	var curve ecdh.Curve
	size := 32
	switch k.Crv {
	case "P-256":
		curve = ecdh.P256()
	case "P-384":
		curve, size = ecdh.P384(), 48
	case "P-521":
		curve, size = ecdh.P521(), 66
	case "secp256k1": // no curve of ours: only the size is looked at
		return len(decode64(k.X)) == size && len(decode64(k.Y)) == size
	default:
		return false
	}
	point := append(append([]byte{4}, decode64(k.X)...), decode64(k.Y)...)
	_, err := curve.NewPublicKey(point)
	return err == nil
}

func decode64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
