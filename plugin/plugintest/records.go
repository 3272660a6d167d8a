package plugintest

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Records keeps records in memory, on a clock that tests move. It is safe for concurrent use.
type Records struct {
	clock *Clock

	mu   sync.Mutex
	kept map[[2]string]kept
	fail error
}

type kept struct {
	value   []byte
	expires time.Time // zero: never
}

var _ plugin.Records = (*Records)(nil)

// NewRecords returns an empty store.
func NewRecords(clock *Clock) *Records { return &Records{clock: clock, kept: map[[2]string]kept{}} }

// Fail makes every call return err, as if the store were away; nil mends it.
func (r *Records) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// Count is the number of records of a kind that have not expired.
func (r *Records) Count(kind string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, k := range r.kept {
		if id[0] == kind && r.fresh(k) {
			n++
		}
	}
	return n
}

func (r *Records) fresh(k kept) bool { return k.expires.IsZero() || r.clock.Now().Before(k.expires) }

// Get implements plugin.Records.
func (r *Records) Get(_ context.Context, kind, key string) ([]byte, error) {
	return r.find(kind, key, false)
}

// Take implements plugin.Records.
func (r *Records) Take(_ context.Context, kind, key string) ([]byte, error) {
	return r.find(kind, key, true)
}

func (r *Records) find(kind, key string, forget bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := [2]string{kind, key}
	k, ok := r.kept[id]
	if r.fail != nil || !ok || !r.fresh(k) {
		return nil, r.fail
	}
	if forget {
		delete(r.kept, id)
	}
	return k.value, nil
}

// Put implements plugin.Records.
func (r *Records) Put(_ context.Context, kind, key string, value []byte, ttl time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	k := kept{value: append([]byte{}, value...)}
	if ttl > 0 {
		k.expires = r.clock.Now().Add(ttl)
	}
	r.kept[[2]string{kind, key}] = k
	return nil
}
