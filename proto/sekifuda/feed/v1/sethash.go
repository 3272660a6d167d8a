package feedv1

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// SetHash is a digest of a set of named bodies that does not depend on their order: the sum
// of the members' leaves in four lanes. A member joins and leaves in constant time, and
// disjoint sets compose by addition. It finds bugs and damage, not attackers.
type SetHash [4]uint64

// Leaf is the share of one member, SHA-256(length of name ‖ name ‖ body). Adding every
// member's leaf gives the set's hash.
func Leaf(name string, body []byte) SetHash {
	// Most entities fit the buffer: hashing them allocates nothing.
	var room [768]byte
	b := binary.BigEndian.AppendUint32(room[:0], uint32(len(name)))
	b = append(b, name...)
	b = append(b, body...)
	sum := sha256.Sum256(b)
	return lanes(sum[:])
}

func lanes(b []byte) (h SetHash) {
	for i := range h {
		h[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return h
}

// Plus returns the hash of the union of two disjoint sets.
func (h SetHash) Plus(o SetHash) SetHash {
	for i := range h {
		h[i] += o[i]
	}
	return h
}

// Minus returns the hash of h's set without the members of o's.
func (h SetHash) Minus(o SetHash) SetHash {
	for i := range h {
		h[i] -= o[i]
	}
	return h
}

// Bytes returns the 32 bytes of Position.set_hash.
func (h SetHash) Bytes() []byte {
	b := make([]byte, 0, 32)
	for _, lane := range h {
		b = binary.LittleEndian.AppendUint64(b, lane)
	}
	return b
}

// String returns 64 hexadecimal digits.
func (h SetHash) String() string { return hex.EncodeToString(h.Bytes()) }

// SetHashOf reads what Bytes wrote. Empty bytes are the hash of the empty set.
func SetHashOf(b []byte) (SetHash, error) {
	if len(b) == 0 {
		return SetHash{}, nil
	}
	if len(b) != 32 {
		return SetHash{}, fmt.Errorf("set hash has %d bytes, want 32", len(b))
	}
	return lanes(b), nil
}

// ParseSetHash reads what String wrote.
func ParseSetHash(s string) (SetHash, error) {
	if len(s) != 64 {
		return SetHash{}, fmt.Errorf("set hash %q has %d digits, want 64", clip(s), len(s))
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return SetHash{}, fmt.Errorf("read set hash: %w", err)
	}
	return lanes(b), nil
}
