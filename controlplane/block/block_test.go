package block

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/model/fault"
)

// clocked is a store by another clock than the process'.
type clocked struct {
	Store
	now *time.Time
}

func (c clocked) Now(context.Context) (time.Time, error) {
	if c.now.IsZero() {
		return time.Time{}, store.ErrUnavailable
	}
	return *c.now, nil
}

// desks returns two desks on one store, as two replicas have them, and the database's clock, which
// is a day ahead of theirs.
func desks(t *testing.T) (a, b *Desk, now *time.Time, told *int) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "seki.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	local := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	clock := local.Add(24 * time.Hour)
	now, told = &clock, new(int)
	o := Options{
		Store: clocked{s, now}, Now: func() time.Time { return local }, Log: slog.New(slog.DiscardHandler), Changed: func() { *told++ },
		Find: func(_ context.Context, kind, name string) (string, string, error) {
			if name == "nobody" {
				return "", "", &fault.Error{Kind: fault.NotFound, Message: "no " + kind}
			}
			return "id-of-" + name, name, nil
		},
	}
	a = New(o)
	o.Changed = nil
	return a, New(o), now, told
}

func block(t *testing.T, d *Desk, o Order) {
	t.Helper()
	if _, err := d.Block(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func refresh(t *testing.T, d *Desk) {
	t.Helper()
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestReplicasAgree has one desk see what the other did, under the same digest and with the time
// that is left by the database's clock.
func TestReplicasAgree(t *testing.T) {
	a, b, now, told := desks(t)
	if a.Current() != nil {
		t.Error("a desk that has read nothing tells nodes something")
	}
	refresh(t, b)
	block(t, a, Order{Kind: "consumer", Target: "alice", For: time.Hour, By: "x", Reason: "y"})
	*now = now.Add(20 * time.Minute)
	refresh(t, b)
	if a.Digest() != b.Digest() || a.Digest() == 0 || *told != 1 {
		t.Errorf("digests %x and %x, told %d times", a.Digest(), b.Digest(), *told)
	}
	got := b.Current().GetBlocks()
	if len(got) != 1 || got[0].GetLeft().AsDuration() != 40*time.Minute || got[0].GetTarget() != "id-of-alice" {
		t.Errorf("the other replica tells nodes %v", got)
	}
	refresh(t, a)
	if *told != 1 {
		t.Error("nodes are told again what they know")
	}
	block(t, b, Order{Kind: "consumer", Target: "alice", For: 2 * time.Hour})
	refresh(t, a)
	if list := a.List(); len(list) != 1 || list[0].GetUntil().AsTime() != now.Add(2*time.Hour) {
		t.Errorf("blocked again it is %v", list)
	}
	if _, err := b.Unblock(t.Context(), "consumer", "alice"); err != nil {
		t.Error(err)
	}
	refresh(t, a)
	if a.Digest() != 0 || len(a.Current().GetBlocks()) != 0 || *told != 3 {
		t.Errorf("after unblock: digest %x, %v, told %d times", a.Digest(), a.Current(), *told)
	}
}

// TestEndedBlocksGo removes the record of what has ended.
func TestEndedBlocksGo(t *testing.T) {
	a, _, now, _ := desks(t)
	block(t, a, Order{Kind: "cidr", Target: "192.0.2.77/24", For: time.Minute})
	block(t, a, Order{Kind: "cidr", Target: "2001:db8::1"})
	*now = now.Add(time.Minute)
	refresh(t, a)
	refresh(t, a)
	records, err := a.Store.Records(t.Context(), recordKind)
	if err != nil || len(records) != 1 || records[0].ID != "cidr/2001:db8::1/128" {
		t.Errorf("stored are %v, %v", records, err)
	}
}

// TestRefusals says what may not be blocked, and that nothing is changed while the database is
// away.
func TestRefusals(t *testing.T) {
	a, _, now, _ := desks(t)
	for _, o := range []Order{
		{Kind: "consumer", Target: "nobody"},
		{Kind: "cidr", Target: "0.0.0.0/0"},
		{Kind: "cidr", Target: "::1"},
		{Kind: "cidr", Target: "10.1.0.0/16", From: "10.1.2.3"},
		{Kind: "cidr", Target: "10.1.0.0/16", From: "::ffff:10.1.2.3"},
		{Kind: "cidr", Target: "10.0.0.0/33"},
		{Kind: "country", Target: "x"},
		{Kind: "route", Target: ""},
		{Kind: "route", Target: "r", For: time.Millisecond},
		{Kind: "route", Target: "r", For: 31 * 24 * time.Hour},
		{Kind: "route", Target: "r", Reason: string(make([]byte, maxReason+1))},
	} {
		var f *fault.Error
		if _, err := a.Block(t.Context(), o); !errors.As(err, &f) || f.Message == "" {
			t.Errorf("Block(%+v) = %v", o, err)
		}
	}
	block(t, a, Order{Kind: "cidr", Target: "10.1.0.0/16", From: "10.1.2.3", Force: true})
	*now = time.Time{}
	if _, err := a.Block(t.Context(), Order{Kind: "route", Target: "r"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a database: %v", err)
	}
	if len(a.Current().GetBlocks()) != 1 {
		t.Error("an outage of the database ended a block")
	}
}
