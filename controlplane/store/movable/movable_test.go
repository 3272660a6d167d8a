package movable

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/controlplane/store/storetest"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "config.db"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s := New(open(t))
		t.Cleanup(func() { s.Close() })
		return s
	})
}

// target is filled as the test says.
type target struct {
	*sqlite.Store
	fill func(d tables.Dump) error
}

func (g target) Fill(_ context.Context, d tables.Dump) (map[string]uint64, error) {
	n := map[string]uint64{}
	for _, t := range tables.Copied {
		for _, err := range d.Rows(t) {
			if err != nil {
				return nil, err
			}
			n[t.Name]++
		}
	}
	return n, g.fill(d)
}

func record(id string) []store.Record { return []store.Record{{Kind: "k", ID: id, Body: []byte("x")}} }

// TestWritersWait has a write wait for the end of a move, and be in what was moved to; one whose
// caller has no time is written nowhere.
func TestWritersWait(t *testing.T) {
	t.Parallel()
	from, to := open(t), open(t)
	s := New(from)
	defer s.Close()
	if err := s.Write(t.Context(), record("before")); err != nil {
		t.Fatal(err)
	}
	waited, reader := make(chan error, 1), make(chan error, 1)
	wctx, cancel := context.WithCancel(t.Context())
	go func() { _, err := s.Wait(wctx, 0); reader <- err }()
	rows, _, err := s.Move(t.Context(), target{to, func(tables.Dump) error {
		ended, end := context.WithCancel(t.Context())
		end()
		if err := s.Write(ended, record("impatient")); !errors.Is(err, context.Canceled) {
			t.Errorf("a write without time: %v", err)
		}
		go func() { waited <- s.Write(t.Context(), record("while")) }()
		if list, err := s.Records(t.Context(), "k"); err != nil || len(list) != 1 {
			t.Errorf("a reader meanwhile sees %v, %v", list, err)
		}
		if _, _, err := s.Move(t.Context(), target{}, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("a move within a move: %v", err)
		}
		select {
		case err := <-waited:
			t.Errorf("a write did not wait: %v", err)
		default:
		}
		return nil
	}}, func() error { return nil })
	if err != nil || rows["record"] != 1 {
		t.Fatalf("Move = %v, %v", rows, err)
	}
	if err := <-waited; err != nil {
		t.Errorf("a write that waited: %v", err)
	}
	if list, _ := to.Records(t.Context(), "k"); len(list) != 1 || list[0].ID != "while" {
		t.Errorf("what was moved to has %v", list)
	}
	if list, _ := from.Records(t.Context(), "k"); len(list) != 1 || list[0].ID != "before" {
		t.Errorf("what was moved from has %v", list)
	}
	// A wait that began before the move hears of a commit after it.
	if _, err := to.Commit(t.Context(), store.Commit{Ops: []store.Op{{Object: store.Object{Kind: "k", ID: "i", Body: []byte("b")}}}}); err != nil {
		t.Fatal(err)
	}
	if err := <-reader; err != nil {
		t.Errorf("a wait over the move: %v", err)
	}
	cancel()
	if _, _, err := s.Move(t.Context(), target{}, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a second move: %v", err)
	}
}

// TestFailedMoveChangesNothing fails at each step.
func TestFailedMoveChangesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct{ fill, kept error }{"fill": {fill: broken}, "kept": {kept: broken}} {
		from, to := open(t), open(t)
		s := New(from)
		_, _, err := s.Move(t.Context(), target{to, func(tables.Dump) error { return c.fill }}, func() error { return c.kept })
		if !errors.Is(err, broken) {
			t.Errorf("%s: Move = %v", name, err)
		}
		if err := s.Write(t.Context(), record(name)); err != nil {
			t.Errorf("%s: a write afterwards: %v", name, err)
		}
		if list, _ := from.Records(t.Context(), "k"); len(list) != 1 {
			t.Errorf("%s: the store that stayed has %v", name, list)
		}
		_ = errors.Join(s.Close(), to.Close())
	}
}
