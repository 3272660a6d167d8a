package limits

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
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

// appendTag makes the part of Redis keys that all windows of an identifier share. It is the
// hash tag, so that a cluster keeps them in one slot; what would end the tag early is hashed.
func appendTag(b []byte, rule, identifier string) []byte {
	b = append(appendSafe(b, rule), ':')
	return appendSafe(b, identifier)
}

func appendSafe(b []byte, s string) []byte {
	if len(s) <= maxIdentifier && !strings.ContainsAny(s, "{}") {
		return append(b, s...)
	}
	return appendDigest(b, s)
}

func appendDigest(b []byte, s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return hex.AppendEncode(append(b, "sha256-"...), sum[:])
}
