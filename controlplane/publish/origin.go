package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
)

// A database that was replaced by one with less may have gone on before anybody looked: its head
// is no lower than what was published, and its numbers mean something else. So of the revision at
// the tail is remembered who made it and when, and every look asks whether it is still that one.
//
// An origin is read before what it is the origin of: when the database is replaced between the
// two, the next look finds that they do not belong together.

// origin reads who made a revision. The zero origin is that of no revision, or of one that nobody
// can tell of.
func (p *Publisher) origin(ctx context.Context, rev uint64) (store.Revision, error) {
	if p.Origin == nil || rev == 0 {
		return store.Revision{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := p.Origin(ctx, rev)
	if errors.Is(err, store.ErrNotFound) {
		return store.Revision{}, nil
	}
	if err != nil {
		return store.Revision{}, fmt.Errorf("read origin of revision %d: %w", rev, err)
	}
	return r, nil
}

// replaced reports whether the store has another revision under the tail's number.
func (p *Publisher) replaced(ctx context.Context, tail *snapshot.Snapshot) (bool, error) {
	if p.tailOrigin.Rev == 0 {
		return false, nil // not known
	}
	now, err := p.origin(ctx, tail.Rev())
	return err == nil && !sameOrigin(now, p.tailOrigin), err
}

func sameOrigin(a, b store.Revision) bool {
	if a.At.Equal(b.At) {
		a.At = b.At // however each is written
	}
	return a == b
}
