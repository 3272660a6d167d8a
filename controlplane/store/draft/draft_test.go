package draft_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/draft"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/controlplane/store/storetest"
)

func open(t *testing.T) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.RunOverlay(t, open, func(base store.Store) storetest.Overlay { return draft.New(base) })
}

func TestBound(t *testing.T) {
	t.Parallel()
	d := draft.New(open(t))
	body := []byte(strings.Repeat("x", store.MaxObjectBytes/2))
	var large *store.TooLargeError
	for n := range 100 {
		_, err := d.Commit(t.Context(), store.Commit{Ops: []store.Op{{Object: store.Object{
			Kind: "services", ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Body: body,
		}}}})
		if errors.As(err, &large) {
			if got := len(d.Ops()); got != n {
				t.Errorf("a refused write left %d objects, want %d", got, n)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("a draft has no bound")
}
