package graph

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
	"unsafe"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// keyHash makes of an API key that a client shows what the graph holds of it: the same as
// feedv1.HashKey, without allocating.
type keyHash struct {
	states sync.Pool // of *keyHashState
}

type keyHashState struct {
	mac  hash.Hash
	in   []byte
	sum  [sha256.Size]byte
	text [43]byte // base64 of sum
}

// keepInput bounds the buffer that a state keeps: keys are short, headers may be long.
const keepInput = 1 << 10

func newKeyHash(pepper []byte) *keyHash {
	k := &keyHash{}
	k.states.New = func() any { return &keyHashState{mac: hmac.New(sha256.New, pepper)} }
	return k
}

// hash returns the hash of key, good until the state is released.
func (k *keyHash) hash(key string) (string, *keyHashState) {
	s := k.states.Get().(*keyHashState)
	s.in = append(s.in[:0], key...)
	s.mac.Reset()
	s.mac.Write(s.in)
	base64.RawStdEncoding.Encode(s.text[:], s.mac.Sum(s.sum[:0]))
	return unsafe.String(&s.text[0], len(s.text)), s
}

func (k *keyHash) release(s *keyHashState) {
	clear(s.in)
	if cap(s.in) > keepInput {
		s.in = nil
	}
	k.states.Put(s)
}

func takeKeyHash(e *edit, _ *Change) { e.keyHash = nil }

func putKeyHash(e *edit, c *Change) {
	m := &feedv1.KeyHash{}
	if e.decode(c, m) {
		e.keyHash = newKeyHash(m.GetPepper())
	}
}
