package upstream

import (
	"context"
	"sync"
	"time"
)

// How long answers are used, besides a record's own time to live.
const (
	nameTTL     = 30 * time.Second // of what has none: a line in the hosts file
	nameLeast   = time.Second      // a record of 0 is not asked for with every request
	nameMost    = 24 * time.Hour
	nameStale   = time.Hour // an old answer serves while a new one is sought or refused
	noNameTTL   = 30 * time.Second
	nameFailTTL = time.Second
	nameTimeout = 10 * time.Second
)

// maxNames bounds the cache: configuration names the hosts, so this is far above any use.
const maxNames = 10000

// names caches what names lead to. It is safe for concurrent use.
type names struct {
	resolver Resolver

	mu      sync.Mutex
	entries map[string]*nameEntry
}

type nameEntry struct {
	places  []Place
	err     error
	until   time.Time     // fresh before that
	stale   time.Time     // usable before that
	pending chan struct{} // closed when the look-up under way ends; nil: none
}

func newNames(r Resolver) *names {
	if r == nil {
		r = &DNS{}
	}
	return &names{resolver: r, entries: map[string]*nameEntry{}}
}

// lookup returns where host leads: to one place at least, or an error that is ErrNoName or a
// *ResolveError. It waits only when nothing usable is known.
func (n *names) lookup(ctx func() context.Context, host string, now time.Time) ([]Place, error) {
	n.mu.Lock()
	e := n.entries[host]
	if e == nil {
		e = n.add(host)
	}
	if now.Before(e.until) {
		places, err := e.places, e.err
		n.mu.Unlock()
		return places, err
	}
	if e.pending == nil {
		e.pending = make(chan struct{})
		// A look-up is for all who wait: it does not end with the one who asked first.
		go n.resolve(host, e, now)
	}
	if e.places != nil && now.Before(e.stale) {
		places := e.places
		n.mu.Unlock()
		return places, nil
	}
	pending := e.pending
	n.mu.Unlock()
	wait := ctx()
	select {
	case <-pending:
	case <-wait.Done():
		return nil, &ResolveError{host, wait.Err()}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return e.places, e.err
}

// add makes room for a host, under the lock.
func (n *names) add(host string) *nameEntry {
	if len(n.entries) >= maxNames {
		for k, e := range n.entries { // any that nobody waits for
			if e.pending == nil {
				delete(n.entries, k)
				break
			}
		}
	}
	e := &nameEntry{}
	n.entries[host] = e
	return e
}

func (n *names) resolve(host string, e *nameEntry, now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	a, err := n.resolver.Resolve(ctx, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	e.settle(host, a, err, now)
	close(e.pending)
	e.pending = nil
}

// settle keeps an answer. A server that cannot be asked does not take away what was known.
func (e *nameEntry) settle(host string, a Answer, err error, now time.Time) {
	switch {
	case err == nil && len(a.Places) > 0:
		ttl := min(max(a.TTL, nameLeast), nameMost)
		e.places, e.err = a.Places, nil
		e.until, e.stale = now.Add(ttl), now.Add(ttl+nameStale)
	case err == nil || isNotFound(err):
		e.places, e.err, e.until = nil, ErrNoName, now.Add(noNameTTL)
	case e.places != nil && now.Before(e.stale):
		e.until = now.Add(nameFailTTL)
	default:
		e.places, e.err, e.until = nil, &ResolveError{host, err}, now.Add(nameFailTTL)
	}
}
