package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha256" // HS256, RS256, ...
	_ "crypto/sha512" // HS384, HS512, ...
	"math/big"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// curves says which curve an ECDSA algorithm stands for, by the bytes of half a signature.
var curves = map[string]int{"256": 32, "384": 48, "512": 66}

// known tells whether an algorithm is one of Kong's.
func known(algorithm string) bool {
	if algorithm == "EdDSA" {
		return true
	}
	if len(algorithm) != 5 || hashes[algorithm[2:]] == 0 {
		return false
	}
	switch algorithm[:2] {
	case "HS", "RS", "ES", "PS":
		return true
	}
	return false
}

// key is what a signature is checked with: one of the two.
type key struct {
	secret []byte
	public crypto.PublicKey
}

// keyOf returns the key of a credential's algorithm.
func (f *filter) keyOf(s *plugin.JWTSecret) (key, bool) {
	if !strings.HasPrefix(s.Algorithm, "HS") {
		return key{public: s.Public}, s.Public != nil
	}
	secret, ok := []byte(s.Secret), true
	if f.base64 {
		secret, ok = decode(s.Secret)
	}
	// With an empty key anybody could sign.
	return key{secret: secret}, ok && len(secret) > 0
}

// signedBy checks the signature by the algorithm in the head, which must already be the
// credential's own: a token does not choose how it is checked.
func (t *token) signedBy(k key) bool {
	if t.algorithm == "EdDSA" {
		public, ok := k.public.(ed25519.PublicKey)
		return ok && ed25519.Verify(public, []byte(t.signed), t.signature)
	}
	hash := hashes[t.algorithm[2:]]
	if t.algorithm[:2] == "HS" {
		mac := hmac.New(hash.New, k.secret)
		mac.Write([]byte(t.signed))
		return hmac.Equal(mac.Sum(nil), t.signature)
	}
	h := hash.New()
	h.Write([]byte(t.signed))
	sum := h.Sum(nil)
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		switch t.algorithm[:2] {
		case "RS":
			return rsa.VerifyPKCS1v15(public, hash, sum, t.signature) == nil
		case "PS":
			return rsa.VerifyPSS(public, hash, sum, t.signature, nil) == nil
		}
	case *ecdsa.PublicKey:
		half := curves[t.algorithm[2:]]
		if t.algorithm[:2] != "ES" || len(t.signature) != 2*half || (public.Curve.Params().BitSize+7)/8 != half {
			return false
		}
		r, s := new(big.Int).SetBytes(t.signature[:half]), new(big.Int).SetBytes(t.signature[half:])
		return ecdsa.Verify(public, sum, r, s)
	}
	return false
}
