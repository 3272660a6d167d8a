package feedv1

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// The kind and the id of the KeyHash entry.
const (
	KeyHashKind = "key_hash"
	KeyHashID   = "api-keys"
)

// HashKey is what nodes hold of an API key: 43 characters.
func HashKey(pepper []byte, key string) string {
	h := hmac.New(sha256.New, pepper)
	h.Write([]byte(key))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}
