// Package movable keeps a store that can move to another database while it is used: readers are
// not held up, writers wait for the end.
//
// It does not know which databases there are: what it begins with can be read whole, what it moves
// to can be filled. Enter at New and Store.Move.
package movable

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// patience is how long a write waits for the end of a move before it is refused.
const patience = 15 * time.Second

// errMoving refuses a write that waited for too long.
var errMoving = fmt.Errorf("%w: the store is being moved to another database; nothing was written, try again", store.ErrUnavailable)

// ErrBusy says that a move is under way, or that the store has moved already.
var ErrBusy = errors.New("the store is being moved, or was moved before")

// Source is a store that can be read whole.
type Source interface {
	store.Store
	ReadDump(ctx context.Context, use func(tables.Dump) error) error
}

// Target is a store that can be filled.
type Target interface {
	store.Store
	// Fill returns how many rows each table has.
	Fill(ctx context.Context, d tables.Dump) (map[string]uint64, error)
}

// Store is a store that can move once. All methods may be called concurrently.
type Store struct {
	mu      sync.Mutex // guards what follows
	now     store.Store
	from    Source        // nil: it cannot move
	moved   chan struct{} // closed when now is another one
	shut    chan struct{} // closed when writes may go on; nil: they may
	writing int
	idle    chan struct{} // closed when the last write is over, while shut
	old     store.Store   // for readers that began before the move
}

var _ store.Store = (*Store)(nil)

// New returns a store that is s until it moves.
func New(s Source) *Store { return &Store{now: s, from: s, moved: make(chan struct{})} }

// Move fills to with all there is and goes on there. kept is called in between: once it returns
// nil, a restart must open to. Any error leaves things as they were. It returns how many rows each
// table has, and how long writes waited.
func (s *Store) Move(ctx context.Context, to Target, kept func() error) (rows map[string]uint64, held time.Duration, err error) {
	from, err := s.close(ctx)
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	err = from.ReadDump(ctx, func(d tables.Dump) (err error) {
		rows, err = to.Fill(ctx, d)
		return err
	})
	if err == nil {
		err = kept()
	}
	s.open(to, err == nil)
	return rows, time.Since(began), err
}

// close has writes wait, once those under way are over.
func (s *Store) close(ctx context.Context) (Source, error) {
	s.mu.Lock()
	if s.from == nil || s.shut != nil {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	s.shut, s.idle = make(chan struct{}), make(chan struct{})
	if s.writing == 0 {
		close(s.idle)
	}
	from, idle := s.from, s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return from, nil
	case <-ctx.Done():
		s.open(nil, false)
		return nil, ctx.Err()
	}
}

// open lets writes go on, in to if it moved.
func (s *Store) open(to store.Store, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moved {
		s.old, s.now, s.from = s.now, to, nil
		close(s.moved)
		s.moved = make(chan struct{}) // there is no second move
	}
	close(s.shut)
	s.shut = nil
}

// enter waits until writes may go on, and counts one. leave ends it.
func (s *Store) enter(ctx context.Context) (now store.Store, leave func(), err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		s.mu.Lock()
		shut := s.shut
		if shut == nil {
			s.writing++
			now = s.now
			s.mu.Unlock()
			return now, s.leave, nil
		}
		s.mu.Unlock()
		select {
		case <-shut:
		case <-late.C:
			return nil, nil, errMoving
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	if s.shut != nil && s.writing == 0 {
		close(s.idle)
	}
}

func (s *Store) current() (now store.Store, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.moved
}

// Database is the store of now.
func (s *Store) Database() store.Store {
	now, _ := s.current()
	return now
}

// Wait implements store.Store. A wait that began before the move goes on after it.
func (s *Store) Wait(ctx context.Context, after uint64) (uint64, error) {
	for {
		now, moved := s.current()
		wctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			select {
			case <-moved:
				cancel()
			case <-done:
			}
		}()
		rev, err := now.Wait(wctx, after)
		close(done)
		again := err != nil && wctx.Err() != nil && ctx.Err() == nil
		cancel()
		if !again {
			return rev, err
		}
	}
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	now, leave, err := s.enter(ctx)
	if err != nil {
		return store.Revision{}, err
	}
	defer leave()
	return now.Commit(ctx, c)
}

// Write implements store.Records.
func (s *Store) Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error {
	now, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return now.Write(ctx, records, notes...)
}

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, entries []store.AuditEntry) ([]store.AuditEntry, error) {
	now, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return now.AppendAudit(ctx, entries)
}

// Secret implements store.Store.
func (s *Store) Secret(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	now, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return now.Secret(ctx, name, fresh)
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, was string) error {
	now, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return now.Renew(ctx, was)
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	now, old := s.now, s.old
	s.mu.Unlock()
	err := now.Close()
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	return err
}

// What only reads is not held up, and sees the store of when it began.

// Head implements store.Store.
func (s *Store) Head(ctx context.Context) (store.Head, error) { return s.Database().Head(ctx) }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, kind, id string) (*store.Object, error) {
	return s.Database().Get(ctx, kind, id)
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, kind string, key store.Key) (*store.Object, error) {
	return s.Database().Find(ctx, kind, key)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Object, error) {
	return s.Database().List(ctx, q)
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context) (map[string]int, error) { return s.Database().Count(ctx) }

// Referrers implements store.Store.
func (s *Store) Referrers(ctx context.Context, kind, id string, limit int) ([]store.Referrer, error) {
	return s.Database().Referrers(ctx, kind, id, limit)
}

// Tags implements store.Store.
func (s *Store) Tags(ctx context.Context, q store.TagQuery) ([]store.Tag, error) {
	return s.Database().Tags(ctx, q)
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	return s.Database().Load(ctx, at)
}

// Changes implements store.Store.
func (s *Store) Changes(ctx context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	return s.Database().Changes(ctx, after, to)
}

// Revision implements store.Store.
func (s *Store) Revision(ctx context.Context, rev uint64) (store.Revision, error) {
	return s.Database().Revision(ctx, rev)
}

// Revisions implements store.Store.
func (s *Store) Revisions(ctx context.Context, q store.RevisionQuery) ([]store.Revision, error) {
	return s.Database().Revisions(ctx, q)
}

// Records implements store.Records.
func (s *Store) Records(ctx context.Context, kind string) ([]store.Record, error) {
	return s.Database().Records(ctx, kind)
}

// AuditEntries implements store.Audit.
func (s *Store) AuditEntries(ctx context.Context, after uint64, size int) ([]store.AuditEntry, error) {
	return s.Database().AuditEntries(ctx, after, size)
}

// AuditHead implements store.Audit.
func (s *Store) AuditHead(ctx context.Context) (uint64, error) { return s.Database().AuditHead(ctx) }

// Now implements store.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) { return s.Database().Now(ctx) }

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error { return s.Database().Ping(ctx) }
