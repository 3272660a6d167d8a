package guard

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// TestAuditTogether notes many events at once: each is on disk when its Note returns.
func TestAuditTogether(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	a := NewAudit(st, time.Now)
	const many = 600
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			if err := a.Note(t.Context(), Event{What: fmt.Sprint(i), Why: "\xff"}); err != nil {
				t.Errorf("Note = %v", err)
			}
		})
	}
	wg.Wait()
	list, err := st.AuditEntries(t.Context(), 0, 2*many)
	if err != nil || len(list) != many {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	seen := map[string]bool{}
	for _, e := range list {
		v := &controlv1.AuditEvent{}
		if err := proto.Unmarshal(e.Body, v); err != nil || v.GetWhy() != "?" {
			t.Fatalf("entry %d = %v, %v", e.Seq, v, err)
		}
		seen[v.GetWhat()] = true
	}
	if len(seen) != many {
		t.Errorf("%d of %d events", len(seen), many)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Note(t.Context(), Event{}); err == nil {
		t.Error("Note in a closed store = nil")
	}
}
