package tables

import (
	"context"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Rows is an answer under way.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Asker answers queries with numbered parameters ($1, $2, ...).
type Asker interface {
	Query(ctx context.Context, query string, args ...any) (Rows, error)
}

// Source is a database that can be asked.
type Source interface {
	Asker
	// View gives an asker that sees one moment of the database until done is called.
	View(ctx context.Context) (view Asker, done func(), err error)
	// Fault says what a database's error means to the callers of a store (ErrUnavailable,
	// ErrClosed, a bug). It is not asked about the caller's own ended context.
	Fault(act string, err error) error
}

// A question about a few rows is answered within answerTime, or the database counts as
// gone. A long answer (Load, Changes) may take stallTime from row to row: the first may
// need a sort of the whole history.
const (
	answerTime = 5 * time.Second
	stallTime  = 30 * time.Second
)

// Reader is the reading half of a store. All methods may be called concurrently; their
// contract is store.Store's. An iterator holds a connection while it is ranged over.
type Reader struct {
	source Source
	closed context.Context
	stop   context.CancelFunc
}

// NewReader makes a reader of source.
func NewReader(source Source) *Reader {
	ctx, cancel := context.WithCancel(context.Background())
	return &Reader{source: source, closed: ctx, stop: cancel}
}

// Stop ends all questions under way.
func (r *Reader) Stop() { r.stop() }

// bound limits a question to d and to the reader's life.
func (r *Reader) bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	drop := context.AfterFunc(r.closed, cancel)
	return ctx, func() { drop(); cancel() }
}

// fail translates err, which ended a question that the caller asked under ctx.
func (r *Reader) fail(ctx context.Context, act string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.closed.Err() != nil {
		return store.ErrClosed
	}
	return r.source.Fault(act, err)
}

// each asks one short question and hands every row to take.
func (r *Reader) each(ctx context.Context, act string, take func(Rows) error, query string, args ...any) error {
	bound, cancel := r.bound(ctx, answerTime)
	defer cancel()
	rows, err := r.source.Query(bound, query, args...)
	if err != nil {
		return r.fail(ctx, act, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return r.fail(ctx, act, err)
		}
	}
	if err := rows.Err(); err != nil {
		return r.fail(ctx, act, err)
	}
	return nil
}

// one is each for a question with at most one row; without one it is ErrNotFound.
func (r *Reader) one(ctx context.Context, act string, take func(Rows) error, query string, args ...any) error {
	found := false
	err := r.each(ctx, act, func(rows Rows) error { found = true; return take(rows) }, query, args...)
	if err == nil && !found {
		return store.ErrNotFound
	}
	return err
}

// watchdog ends a long question when nothing moves for stallTime. The time in which the
// caller works on a row does not count.
type watchdog struct{ timer *time.Timer }

func watch(cancel context.CancelFunc) watchdog {
	return watchdog{time.AfterFunc(stallTime, cancel)}
}

func (w watchdog) pause()  { w.timer.Stop() }
func (w watchdog) resume() { w.timer.Reset(stallTime) }
