package ldapauth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// places bounds what is remembered: more than the clients of one gate within cache_ttl, in a
// megabyte.
const places = 8192

// memory remembers what a server has said of names and passwords, right and wrong, under a
// keyed digest. It is safe for concurrent use.
type memory struct {
	ttl time.Duration
	now func() time.Time
	key [32]byte // digests are of no use outside of this process

	asking singleflight.Group // many who show the same are one question

	mu   sync.Mutex // guards said
	said map[digest]saying
}

type digest [sha256.Size]byte

type saying struct {
	right bool
	until time.Time
}

func newMemory(ttl time.Duration, now func() time.Time) *memory {
	m := &memory{ttl: ttl, now: now, said: map[digest]saying{}}
	rand.Read(m.key[:]) // never fails
	return m
}

// ask returns what was said, or what question finds out now. An error is not remembered.
func (m *memory) ask(name, password string, question func() (bool, error)) (bool, error) {
	d := m.digest(name, password)
	if right, known := m.lookup(d); known {
		return right, nil
	}
	v, err, _ := m.asking.Do(string(d[:]), func() (any, error) {
		right, err := question()
		if err == nil {
			m.keep(d, right)
		}
		return right, err
	})
	right, _ := v.(bool)
	return right && err == nil, err
}

func (m *memory) digest(name, password string) (d digest) {
	mac := hmac.New(sha256.New, m.key[:])
	mac.Write([]byte(name))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(d[:0])
	return d
}

// name is what stands for a user where an id is asked for.
func (m *memory) name(user string) string {
	sum := sha256.Sum256([]byte(user))
	return "ldap_auth:" + hex.EncodeToString(sum[:])
}

func (m *memory) lookup(d digest) (right, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.said[d]
	if !ok || !m.now().Before(s.until) {
		return false, false
	}
	return s.right, true
}

func (m *memory) keep(d digest, right bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ttl <= 0 {
		return
	}
	now := m.now()
	for old, s := range m.said { // some that have expired; one that has not when it is full
		if len(m.said) < places && now.Before(s.until) {
			break
		}
		delete(m.said, old)
	}
	m.said[d] = saying{right, now.Add(m.ttl)}
}
