package guard

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Audit notes events in the store's audit log by a write of their own: what was refused, and what
// changed nothing in the store (Noted notes the rest). Events that come while a write is under
// way are written together by the next one: the chain has one writer at a time.
type Audit struct {
	store store.Audit
	now   func() time.Time

	mu      sync.Mutex
	waiting []noting
	writing bool
}

var _ Log = (*Audit)(nil)

type noting struct {
	entry store.AuditEntry
	done  chan error
}

// NewAudit returns the log in a store.
func NewAudit(s store.Audit, now func() time.Time) *Audit { return &Audit{store: s, now: now} }

// Bounds: of what comes from who asked, and of what is written together.
const (
	maxText  = 512
	maxBatch = 256
)

// Note implements Log. It returns once the event is on disk, or why it is not.
func (a *Audit) Note(ctx context.Context, e Event) error {
	n := noting{entry: store.AuditEntry{At: a.now(), Body: e.body()}, done: make(chan error, 1)}
	a.mu.Lock()
	a.waiting = append(a.waiting, n)
	if !a.writing {
		a.writing = true
		go a.write()
	}
	a.mu.Unlock()
	select {
	case err := <-n.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write writes what waits until nothing does.
func (a *Audit) write() {
	for {
		a.mu.Lock()
		batch := a.waiting[:min(len(a.waiting), maxBatch)]
		a.waiting = a.waiting[len(batch):]
		if len(batch) == 0 {
			a.writing = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		entries := make([]store.AuditEntry, len(batch))
		for i, n := range batch {
			entries[i] = n.entry
		}
		ctx, cancel := context.WithTimeout(context.Background(), noteTimeout)
		_, err := a.store.AppendAudit(ctx, entries)
		cancel()
		for _, n := range batch {
			n.done <- err
		}
	}
}

// body is the event as an entry holds it.
func (e *Event) body() []byte {
	body, err := proto.Marshal(&controlv1.AuditEvent{
		Who: text(e.Who), From: text(e.From), What: text(e.What), Result: e.Result, Why: text(e.Why), Revision: e.Revision,
	})
	if err != nil {
		panic(err) // of texts that are texts: a bug
	}
	return body
}

// text is a text that a message can hold.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "?")
}
