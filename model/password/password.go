// Package password makes the form in which passwords are stored, and holds passwords against
// it: argon2id, in the PHC text form.
//
// It knows one password at a time and nothing of who has it. Enter at New.
package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash costs: RFC 9106 leaves it to the room there is; these are what OWASP asks of a
// server at least, some 20 ms of one core.
const (
	memoryKiB = 19 * 1024
	passes    = 2
	lanes     = 1
	saltBytes = 16
	sumBytes  = 32
)

// The bounds within which a stored hash is believed, so that a bad one cannot take a gate's
// memory or time.
const (
	maxMemoryKiB = 256 * 1024
	maxPasses    = 16
	maxLanes     = 16
	maxBytes     = 64
)

// Hash is a stored form that was read.
type Hash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

// New returns the stored form of a password, with a salt of its own.
func New(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(password), salt, passes, memoryKiB, lanes, sumBytes)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, memoryKiB, passes, lanes, enc.EncodeToString(salt), enc.EncodeToString(sum))
}

// Parse reads a stored form.
func Parse(stored string) (*Hash, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, fmt.Errorf("read password hash: not in the form $argon2id$v=19$m=..,t=..,p=..$salt$sum")
	}
	var version int
	h := &Hash{}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.passes, &h.lanes); err != nil {
		return nil, fmt.Errorf("read password hash: parameters: %w", err)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return nil, fmt.Errorf("read password hash: salt: %w", err)
	}
	if h.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return nil, fmt.Errorf("read password hash: sum: %w", err)
	}
	switch {
	case version != argon2.Version:
		return nil, fmt.Errorf("read password hash: version %d is not %d", version, argon2.Version)
	case h.memory < 8 || h.memory > maxMemoryKiB, h.passes < 1 || h.passes > maxPasses, h.lanes < 1 || h.lanes > maxLanes:
		return nil, fmt.Errorf("read password hash: parameters are out of bounds")
	case len(h.salt) < 8 || len(h.salt) > maxBytes, len(h.sum) < 16 || len(h.sum) > maxBytes:
		return nil, fmt.Errorf("read password hash: salt or sum has a bad length")
	}
	return h, nil
}

// AppendTo appends what tells this hash from all others.
func (h *Hash) AppendTo(b []byte) []byte { return append(append(b, h.salt...), h.sum...) }

// Matches holds a password against the hash. It takes tens of milliseconds and megabytes:
// callers bound how many run at once.
func (h *Hash) Matches(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}
