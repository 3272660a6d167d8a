package limits

import (
	"crypto/sha256"
	"encoding/hex"
)

// maxIdentifier is the longest identifier that is kept as it is, here and in Redis. An
// identifier may be a header line of 64 KiB: two million of those must not be kept.
const maxIdentifier = 200

// shorten returns an identifier that is no longer than maxIdentifier, the same for the same.
func shorten(identifier string) string {
	if len(identifier) <= maxIdentifier {
		return identifier
	}
	return string(appendDigest(nil, identifier))
}

func appendDigest(b []byte, s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return hex.AppendEncode(append(b, "sha256-"...), sum[:])
}
