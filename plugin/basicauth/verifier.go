package basicauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// How much is remembered. 8,192 passwords are more than the clients of one gate that use
// them at a time, in half a megabyte; wrong ones have places of their own, so that who
// tries passwords does not push out those who know theirs.
const (
	rightPlaces = 8192
	wrongPlaces = 1024
)

// shared is the verifier of all configurations: what a password is does not depend on them,
// and the bound on memory and work is the process's.
var shared = newVerifier(runtime.GOMAXPROCS(0))

// verifier remembers which passwords were right. It is safe for concurrent use.
type verifier struct {
	key          [32]byte // digests are of no use outside of this process
	right, wrong []atomic.Pointer[digest]
	// working bounds how many slow hashes are made at once: each takes a core and 19 MiB.
	working chan struct{}
}

type digest [sha256.Size]byte

func newVerifier(atOnce int) *verifier {
	v := &verifier{
		right:   make([]atomic.Pointer[digest], rightPlaces),
		wrong:   make([]atomic.Pointer[digest], wrongPlaces),
		working: make(chan struct{}, atOnce),
	}
	rand.Read(v.key[:]) // never fails
	return v
}

// matches holds a password against the stored form. A password that must wait for others
// longer than its client does is not right.
func (v *verifier) matches(x *plugin.Exchange, secret *plugin.BasicSecret, password string) bool {
	if !secret.Slow() {
		return secret.Matches(password)
	}
	d := v.digest(secret, password)
	if right, known := v.lookup(&d); known {
		return right
	}
	select {
	case v.working <- struct{}{}:
	case <-x.Context().Done():
		return false
	}
	defer func() { <-v.working }()
	// Another exchange may have found it while this one waited.
	if right, known := v.lookup(&d); known {
		return right
	}
	right := secret.Matches(password)
	v.keep(d, right)
	return right
}

// digest tells a stored form and a presented password from all other such pairs.
func (v *verifier) digest(secret *plugin.BasicSecret, password string) digest {
	var room [512]byte
	b := secret.AppendTo(append(room[:0], v.key[:]...))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(password)))
	return sha256.Sum256(append(b, password...))
}

func (v *verifier) lookup(d *digest) (right, known bool) {
	if p := place(v.right, d).Load(); p != nil && *p == *d {
		return true, true
	}
	if p := place(v.wrong, d).Load(); p != nil && *p == *d {
		return false, true
	}
	return false, false
}

func (v *verifier) keep(d digest, right bool) {
	places := v.wrong
	if right {
		places = v.right
	}
	place(places, &d).Store(&d)
}

func place(places []atomic.Pointer[digest], d *digest) *atomic.Pointer[digest] {
	return &places[binary.LittleEndian.Uint64(d[:])%uint64(len(places))]
}
