package proxycache

import (
	"container/list"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// The bounds of what is kept. The sum is that of Kong's default store; one answer takes at
// most a sixteenth of it, so that it does not push out all others; the number bounds what
// small answers cost beside their bytes.
const (
	maxBytes   = 128 << 20
	maxObject  = 8 << 20
	maxEntries = 1 << 17
)

// shared is the store of all configurations: the bound is the process's, and what was kept
// outlives a change of configuration, as in Kong.
var shared = NewStore()

// Shared returns the store that this process's filters use. Who administers the gate looks
// and purges in it.
func Shared() *Store { return shared }

// Entry is an answer that is kept. It is not changed.
type Entry struct {
	Status  int
	Header  []plugin.Field // without Content-Type and Content-Length
	Body    string
	Stored  time.Time
	TTL     time.Duration // for which it is fresh
	Expires time.Time     // when it is forgotten

	contentType string
	length      string         // Content-Length that the upstream told
	variant     []plugin.Field // what the request must have said
}

// sameVariant tells whether the answer is to what this request says.
func (e *Entry) sameVariant(h *plugin.Header) bool {
	for _, v := range e.variant {
		if h.Get(v.Name) != v.Value {
			return false
		}
	}
	return true
}

// overhead is what an entry costs beside its texts, about.
const overhead = 512

func (e *Entry) size(key string) int {
	n := overhead + len(key) + len(e.Body) + len(e.contentType) + len(e.length)
	for _, list := range [2][]plugin.Field{e.Header, e.variant} {
		for _, line := range list {
			n += len(line.Name) + len(line.Value) + 32
		}
	}
	return n
}

// Store keeps answers by key, and forgets those that were not used for longest. It is safe
// for concurrent use.
type Store struct {
	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent list.List // of *slot, last used first
	bytes  int
}

type slot struct {
	key   string
	entry *Entry
	bytes int
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{byKey: map[string]*list.Element{}} }

// get returns what is kept and has not expired, or nil.
func (s *Store) get(key string, now time.Time) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.byKey[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*slot).entry
	if !now.Before(e.Expires) {
		s.drop(el)
		return nil
	}
	s.recent.MoveToFront(el)
	return e
}

func (s *Store) put(key string, e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el := s.byKey[key]; el != nil {
		s.drop(el)
	}
	n := &slot{key: key, entry: e, bytes: e.size(key)}
	s.byKey[key] = s.recent.PushFront(n)
	s.bytes += n.bytes
	for s.bytes > maxBytes || s.recent.Len() > maxEntries {
		s.drop(s.recent.Back())
	}
}

func (s *Store) drop(el *list.Element) {
	n := s.recent.Remove(el).(*slot)
	delete(s.byKey, n.key)
	s.bytes -= n.bytes
}

// Lookup returns the answer that is kept under a key, or nil.
func (s *Store) Lookup(key string, now time.Time) *Entry { return s.get(key, now) }

// Purge forgets what is kept under a key and reports whether there was anything.
func (s *Store) Purge(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.byKey[key]
	if el != nil {
		s.drop(el)
	}
	return el != nil
}

// Flush forgets everything.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byKey)
	s.recent.Init()
	s.bytes = 0
}
