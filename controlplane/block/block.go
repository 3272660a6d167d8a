// Package block is the desk of what is refused ahead of configuration: consumers, keys, routes,
// services and addresses that somebody blocked for a while.
//
// It knows records and time. It does not know how nodes are told, or what an entity is: names are
// looked up by a function. A block is one record, so that every replica has it, and it has its
// end by the database's clock. Enter at New, Desk.Block and Desk.Current.
package block

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// recordKind is the kind of the records.
const recordKind = "blocks"

const (
	// refreshEvery is how often a replica looks what the others did.
	refreshEvery = 250 * time.Millisecond
	// DefaultFor is how long a block lasts that does not say; maxFor bounds those that do: what is
	// to stay belongs into the configuration.
	DefaultFor = 30 * time.Minute
	maxFor     = 30 * 24 * time.Hour
	// maxBlocks bounds what every node looks up for every request.
	maxBlocks = 1000
	maxReason = 160 // nodes remember so much of why they refused something
)

// Store keeps what every replica must know, and the time by which they agree.
type Store interface {
	Records(ctx context.Context, kind string) ([]store.Record, error)
	Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error
	Now(ctx context.Context) (time.Time, error)
}

// Find looks an entity up by what an operator calls it: a consumer, key, route or service.
type Find func(ctx context.Context, kind, name string) (id, label string, err error)

// Options are what a desk is made of.
type Options struct {
	Store Store
	Find  Find
	Now   func() time.Time
	// Concern notes for the audit log what a call is about, by names that may be read: a key goes by
	// its id. nil: nobody does.
	Concern func(ctx context.Context, about string)
	// Changed hears that Current is another one now. It must not wait.
	Changed func()
	Log     *slog.Logger
}

// Desk is what is blocked. All methods may be called concurrently.
type Desk struct {
	Options
	one sync.Mutex // held by Refresh: what was read earlier must not win over what was read later

	mu     sync.Mutex // guards what follows
	read   bool       // the store was read once
	list   []kept
	digest uint64
	ahead  time.Duration // of the database's clock before this process'
}

// kept is one block and its record.
type kept struct {
	is     *controlv1.Block
	record store.Record
}

// New returns a desk that has read nothing yet.
func New(o Options) *Desk { return &Desk{Options: o} }

// Order says what is to be blocked.
type Order struct {
	Kind   string
	Target string        // as the operator calls it
	For    time.Duration // 0: DefaultFor
	By     string
	Reason string
	Force  bool
	From   string // address of who asks; "": unknown
}

// Block begins to refuse, or gives what is blocked already another end and reason.
func (d *Desk) Block(ctx context.Context, o Order) (*controlv1.Block, error) {
	if o.For == 0 {
		o.For = DefaultFor
	}
	if o.For < time.Second || o.For > maxFor {
		return nil, refuse("for: %v is not between 1s and %v; what is to stay belongs into the configuration", o.For, maxFor)
	}
	if len(o.Reason) > maxReason {
		return nil, refuse("reason: is longer than %d bytes", maxReason)
	}
	b := &controlv1.Block{Kind: o.Kind, By: o.By, Reason: o.Reason}
	var err error
	if o.Kind != "key" { // what is not found may be told, unless it is a secret
		d.concern(ctx, &controlv1.Block{Kind: o.Kind, Name: o.Target})
	}
	if b.Target, b.Name, err = d.target(ctx, o); err != nil {
		return nil, err
	}
	now, err := d.Store.Now(ctx)
	if err != nil {
		return nil, away(err)
	}
	b.At, b.Until = timestamppb.New(now), timestamppb.New(now.Add(o.For))
	d.concern(ctx, b)
	return b, d.write(ctx, func(all []kept) ([]store.Record, error) {
		r := store.Record{Kind: recordKind, ID: id(b.GetKind(), b.GetTarget())}
		for _, k := range all {
			if k.record.ID == r.ID {
				r.Version = k.record.Version
			}
		}
		if r.Version == 0 && len(all) >= maxBlocks {
			return nil, refuse("%d blocks are the most there may be; block a wider cidr, or change the configuration", maxBlocks)
		}
		r.Body, err = proto.Marshal(b)
		return []store.Record{r}, err
	})
}

// Unblock ends a block before its time.
func (d *Desk) Unblock(ctx context.Context, kind, target string) ([]*controlv1.Block, error) {
	want := target
	if resolved, _, err := d.target(ctx, Order{Kind: kind, Target: target, Force: true}); err == nil {
		want = resolved
	} else if !fault.Is(err, fault.NotFound) { // what was deleted meanwhile is found by its id or name
		return nil, err
	}
	return d.end(ctx, func(b *controlv1.Block) bool {
		return b.GetKind() == kind && (b.GetTarget() == want || b.GetName() == target)
	}, fmt.Sprintf("%s %q is not blocked", kind, target))
}

// UnblockAll ends every block.
func (d *Desk) UnblockAll(ctx context.Context) ([]*controlv1.Block, error) {
	return d.end(ctx, func(*controlv1.Block) bool { return true }, "nothing is blocked")
}

func (d *Desk) end(ctx context.Context, which func(*controlv1.Block) bool, nothing string) (ended []*controlv1.Block, err error) {
	err = d.write(ctx, func(all []kept) (gone []store.Record, err error) {
		ended = nil
		for _, k := range all {
			if which(k.is) {
				gone, ended = append(gone, ending(k)), append(ended, k.is)
			}
		}
		if len(gone) == 0 {
			return nil, &fault.Error{Kind: fault.NotFound, Message: nothing}
		}
		d.concern(ctx, ended...)
		return gone, nil
	})
	return ended, err
}

func (d *Desk) concern(ctx context.Context, blocks ...*controlv1.Block) {
	if d.Concern == nil {
		return
	}
	var names []string
	for _, b := range blocks {
		names = append(names, b.GetKind()+" "+b.GetName())
	}
	d.Concern(ctx, strings.Join(names, ", "))
}

// ending is the write that removes a block.
func ending(k kept) store.Record {
	r := k.record
	r.Body = nil
	return r
}

// maxTries bounds how often a change begins again because somebody else's was first.
const maxTries = 20

// write makes one change of what is stored, and has the desk know it.
func (d *Desk) write(ctx context.Context, change func(all []kept) ([]store.Record, error)) error {
	var conflict *store.ConflictError
	for try := 0; ; try++ {
		all, err := d.load(ctx)
		if err != nil {
			return err
		}
		records, err := change(all)
		if err != nil {
			return err
		}
		if err = d.Store.Write(ctx, records); err == nil {
			return d.Refresh(ctx)
		}
		if !errors.As(err, &conflict) || try == maxTries {
			return away(err)
		}
	}
}

func id(kind, target string) string { return kind + "/" + target }

func refuse(format string, args ...any) error {
	return &fault.Error{Kind: fault.SchemaViolation, Message: fmt.Sprintf(format, args...)}
}

// away says that nothing was blocked because the database is away.
func away(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return &fault.Error{Kind: fault.Unavailable, Message: "the database does not answer: nothing was changed, what is blocked stays blocked until its end", Err: err}
	}
	return err
}
