package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Committed is the result of events that are in the log by the transaction of what they did.
const Committed = "committed"

// deed is what one call does, on its way to the log. What it changes in a Noted store takes the
// event with it.
type deed struct {
	mu    sync.Mutex
	event Event
	about string // what it is about, beside what event.What says
	noted bool   // some change of it is in the log
}

type deedKey struct{}

// doing returns the context of a call that does what e says.
func doing(ctx context.Context, e Event) (context.Context, *deed) {
	e.Result = Committed
	d := &deed{event: e}
	return context.WithValue(ctx, deedKey{}, d), d
}

// Concern notes what the call of ctx is about, for its entry in the log: who is called may know it
// only then. The last word stands.
func Concern(ctx context.Context, about string) {
	if d, _ := ctx.Value(deedKey{}).(*deed); d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.about = about
	}
}

// asked is the event with what it is about.
func (d *deed) asked() Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.event
	if d.about != "" {
		e.What += " " + d.about
	}
	return e
}

// inLog reports whether a change of the deed is in the log.
func (d *deed) inLog() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noted
}

func (d *deed) setInLog() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted = true
}

// Noted is a store whose every revision has its entry in the audit log by the same transaction,
// and so has what a call writes to records.
type Noted struct {
	store.Store
	now func() time.Time
}

// NewNoted returns a store that writes to s, and to its log.
func NewNoted(s store.Store, now func() time.Time) *Noted { return &Noted{Store: s, now: now} }

// Commit implements store.Store. A revision that the control plane makes by itself is noted as
// done by whom it names.
func (n *Noted) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	e := Event{Who: c.Actor, What: "control plane", Why: c.Message, Result: Committed}
	d, _ := ctx.Value(deedKey{}).(*deed)
	if d != nil {
		e = d.asked()
	}
	var told uint64
	c.Note = func(rev uint64) []byte {
		told, e.Revision = rev, rev
		return e.body()
	}
	r, err := n.Store.Commit(ctx, c)
	// Without an error the writer is done with the note.
	if err == nil && d != nil && told == r.Rev && told > 0 {
		d.setInLog()
	}
	return r, err
}

// Write implements store.Records. What a call changes first takes the call's entry with it.
func (n *Noted) Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error {
	d, _ := ctx.Value(deedKey{}).(*deed)
	if d == nil || d.inLog() {
		return n.Store.Write(ctx, records, notes...)
	}
	e := d.asked()
	err := n.Store.Write(ctx, records, append(notes, store.AuditEntry{At: n.now(), Body: e.body()})...)
	if err == nil {
		d.setInLog()
	}
	return err
}

// Pack is who does what by a call, to go along when another replica does it.
func Pack(ctx context.Context) []byte {
	d, _ := ctx.Value(deedKey{}).(*deed)
	who, known := ctx.Value(personKey{}).(person)
	if d == nil || !known {
		return nil
	}
	e := d.asked()
	return append(who.pack(), e.body()...)
}

var errUnpack = errors.New("the call does not say who asks")

// Unpack is the context of a call that was let in by another replica's guard; noted tells whether
// what it did is in the log.
func Unpack(ctx context.Context, packed []byte) (_ context.Context, noted func() bool, err error) {
	v := &controlv1.AuditEvent{}
	grant, body, err := unpackGrant(packed)
	if err != nil || proto.Unmarshal(body, v) != nil {
		return nil, nil, errUnpack
	}
	ctx = known(ctx, grant.person(v.GetWho()))
	ctx, d := doing(ctx, Event{Who: v.GetWho(), From: v.GetFrom(), What: v.GetWhat(), Why: v.GetWhy()})
	return ctx, d.inLog, nil
}

// InLog says that what a call does is in the log: another replica did it.
func InLog(ctx context.Context) {
	if d, _ := ctx.Value(deedKey{}).(*deed); d != nil {
		d.setInLog()
	}
}
