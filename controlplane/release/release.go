// Package release is the desk where nodes are told which revision to run: how groups are
// assigned, and how releases move a group to a revision, a share of its nodes at a time.
//
// It knows groups, releases and the numbers of revisions; it does not know what a revision
// holds, nor how nodes get there: package rollout turns what is kept here into targets. What
// it decides is one write of a few records, which every replica then reads and obeys. Enter
// at Desk.
package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Store is what the desk needs of store.Store.
type Store interface {
	store.Records
	Head(ctx context.Context) (store.Head, error)
}

// Options are what a Desk is made with.
type Options struct {
	Store Store
	Now   func() time.Time
	// Clock tells the time by a clock that all replicas share: how long a stage has baked must
	// not depend on which of them looks. nil: Now.
	Clock func(ctx context.Context) (time.Time, error)
	// Woke hears that assignments changed.
	Woke func()
	// Refused tells why a node of the group turned a revision down, "" when none did.
	Refused func(group string, rev uint64) string
	// Counts tells what the nodes of a group served under a revision since they were last
	// asked for; each request is told once. nil: nothing is counted.
	Counts func(group string, rev uint64) Counts
	// Window is how long is counted before it is weighed: nodes do not report at the same time.
	// 0: as often as they report.
	Window time.Duration
	Log    *slog.Logger
}

// Counts is what nodes served.
type Counts struct{ Requests, Errors uint64 }

// Desk assigns groups and moves releases. It is safe for concurrent use, and any number of
// replicas may have one over the same store.
type Desk struct {
	Options
	weighed map[string]time.Time // when this replica weighed a release last; of Look's loop alone
}

// defaultWindow is how often nodes report.
const defaultWindow = 10 * time.Second

// New returns a desk.
func New(o Options) *Desk {
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	return &Desk{Options: o, weighed: map[string]time.Time{}}
}

// By is who asks, and why.
type By struct{ Actor, Reason string }

// The kinds of records.
const (
	groupKind   = "groups"
	releaseKind = "releases"
)

// maxTries is how often a change begins again because another came first.
const maxTries = 8

// maxName bounds the name of a group, as a node may claim it.
const maxName = 128

// state is what a change works on: the records it read, decoded. What the change alters it
// says by put.
type state struct {
	now      time.Time
	head     store.Head
	by       By
	groups   map[string]*kept[*controlv1.Group]
	releases map[string]*kept[*controlv1.Release]
}

// kept is a record, decoded.
type kept[T proto.Message] struct {
	is      T
	version uint64
	dirty   bool
	gone    bool
}

// Groups returns how every group that was ever assigned stands, for the plan.
func (d *Desk) Groups(ctx context.Context) ([]rollout.Group, error) {
	groups, err := load[controlv1.Group](ctx, d.Store, groupKind)
	if err != nil {
		return nil, err
	}
	all := make([]rollout.Group, 0, len(groups))
	for _, g := range groups {
		all = append(all, planned(g.is))
	}
	return all, nil
}

var modes = map[controlv1.Mode]rollout.Mode{
	controlv1.Mode_MODE_FOLLOW: rollout.Follow,
	controlv1.Mode_MODE_PINNED: rollout.Pinned,
	controlv1.Mode_MODE_FROZEN: rollout.Frozen,
}

func planned(g *controlv1.Group) rollout.Group {
	p := rollout.Group{
		Name: g.GetName(), Mode: modes[g.GetAssignment().GetMode()],
		Rev: g.GetAssignment().GetRev(), Generation: g.GetGeneration(),
	}
	if m := g.GetMove(); m != nil {
		p.Move = rollout.Move{Release: m.GetRelease(), Rev: m.GetRev(), Share: m.GetShare()}
	}
	return p
}

// List returns every group that was ever assigned, by name.
func (d *Desk) List(ctx context.Context) ([]*controlv1.Group, error) {
	groups, err := load[controlv1.Group](ctx, d.Store, groupKind)
	return messages(groups), d.fault(err)
}

// Releases returns releases, newest first; of one group when it is named.
func (d *Desk) Releases(ctx context.Context, group string) ([]*controlv1.Release, error) {
	releases, err := load[controlv1.Release](ctx, d.Store, releaseKind)
	if err != nil {
		return nil, d.fault(err)
	}
	return newestFirst(messages(releases), group), nil
}

// Release returns one release.
func (d *Desk) Release(ctx context.Context, id string) (*controlv1.Release, error) {
	releases, err := load[controlv1.Release](ctx, d.Store, releaseKind)
	if err != nil {
		return nil, d.fault(err)
	}
	for _, r := range releases {
		if r.is.GetId() == id {
			return r.is, nil
		}
	}
	return nil, noRelease(id)
}

// change reads the state, lets do alter it and writes what was altered, all or nothing. It
// begins again when another change came first.
func (d *Desk) change(ctx context.Context, by By, do func(*state) error) error {
	for try := 1; ; try++ {
		s, err := d.read(ctx, by)
		if err != nil {
			return d.fault(err)
		}
		if err := do(s); err != nil {
			return err
		}
		records, err := s.records()
		if err != nil || len(records) == 0 {
			return err
		}
		err = d.Store.Write(ctx, records)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) && try < maxTries {
			continue
		}
		if err == nil && d.Woke != nil {
			d.Woke()
		}
		return d.fault(err)
	}
}

func (d *Desk) read(ctx context.Context, by By) (*state, error) {
	s := &state{by: by, now: d.Now()}
	var err error
	if d.Clock != nil {
		if s.now, err = d.Clock(ctx); err != nil {
			return nil, err
		}
	}
	if s.head, err = d.Store.Head(ctx); err != nil {
		return nil, err
	}
	groups, err := load[controlv1.Group](ctx, d.Store, groupKind)
	if err != nil {
		return nil, err
	}
	releases, err := load[controlv1.Release](ctx, d.Store, releaseKind)
	if err != nil {
		return nil, err
	}
	s.groups, s.releases = index(groups), index(releases)
	return s, nil
}

// records are what was altered, to be written.
func (s *state) records() ([]store.Record, error) {
	groups, err := altered(groupKind, s.groups)
	if err != nil {
		return nil, err
	}
	releases, err := altered(releaseKind, s.releases)
	return append(groups, releases...), err
}

// encoding makes equal records of equal messages.
var encoding = proto.MarshalOptions{Deterministic: true}

func altered[T proto.Message](kind string, all map[string]*kept[T]) (records []store.Record, err error) {
	for id, k := range all {
		if !k.dirty {
			continue
		}
		r := store.Record{Kind: kind, ID: id, Version: k.version}
		if !k.gone {
			if r.Body, err = encoding.Marshal(k.is); err != nil {
				return nil, fmt.Errorf("encode %s %s: %w", kind, id, err)
			}
		}
		records = append(records, r)
	}
	return records, nil
}

// load reads all records of a kind.
func load[M any, T message[M]](ctx context.Context, s store.Records, kind string) ([]*kept[T], error) {
	records, err := s.Records(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	all := make([]*kept[T], 0, len(records))
	for _, r := range records {
		m := T(new(M))
		if err := proto.Unmarshal(r.Body, m); err != nil {
			return nil, fmt.Errorf("decode %s %s: %w", kind, r.ID, err)
		}
		all = append(all, &kept[T]{is: m, version: r.Version})
	}
	return all, nil
}

// message is the pointer to a protobuf message M.
type message[M any] interface {
	*M
	proto.Message
}

func messages[T proto.Message](all []*kept[T]) []T {
	list := make([]T, len(all))
	for i, k := range all {
		list[i] = k.is
	}
	return list
}

// index finds records by the name under which they are kept.
func index[T proto.Message](all []*kept[T]) map[string]*kept[T] {
	m := make(map[string]*kept[T], len(all))
	for _, k := range all {
		m[nameOf(k.is)] = k
	}
	return m
}

func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *controlv1.Group:
		return m.GetName()
	case *controlv1.Release:
		return m.GetId()
	}
	return ""
}

// fault puts a store's error into the operator's words.
func (d *Desk) fault(err error) error {
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict):
		return &fault.Error{Kind: fault.Conflict, Message: "somebody else changes the same group; try again", Err: err}
	case errors.Is(err, store.ErrUnavailable):
		return &fault.Error{Kind: fault.Unavailable, Message: "the database does not answer", Err: err}
	}
	return err
}

// refuse makes a fault about what was asked.
func refuse(format string, args ...any) error {
	return &fault.Error{Kind: fault.SchemaViolation, Message: fmt.Sprintf(format, args...)}
}

// blocked makes a fault about how things stand.
func blocked(format string, args ...any) error {
	return &fault.Error{Kind: fault.Conflict, Message: fmt.Sprintf(format, args...)}
}

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
