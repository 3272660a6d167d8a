package storetest

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func emptyStore(ctx context.Context, d *desk) {
	h, err := d.Head(ctx)
	if err != nil || h.Rev != 0 || h.Floor != 0 || len(h.Epoch) != 36 || h.Epoch[14] != '4' {
		d.Errorf("Head = %+v, %v, want revision 0 and a UUID as epoch", h, err)
	}
	if _, err := d.Get(ctx, "services", id(1)); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Get = %v, want ErrNotFound", err)
	}
	if _, err := d.Find(ctx, "services", store.Key{Index: "name", Value: "a"}); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Find = %v, want ErrNotFound", err)
	}
	if list, err := d.List(ctx, store.Query{Kind: "services", Size: 10}); err != nil || len(list) != 0 {
		d.Errorf("List = %v, %v, want nothing", list, err)
	}
	if rev, all := d.load(0); rev != 0 || len(all) != 0 {
		d.Errorf("Load = %d, %v, want nothing at 0", rev, all)
	}
	if all := d.changes(0, 0); len(all) != 0 {
		d.Errorf("Changes = %v, want none", all)
	}
	if err := d.Ping(ctx); err != nil {
		d.Errorf("Ping = %v", err)
	}
}

func putGetReplaceDelete(ctx context.Context, d *desk) {
	first := d.commit(named(tagged(put("services", 1, "one"), "b", "a"), "one"))
	want := &store.Object{Kind: "services", ID: id(1), Rev: first, Tags: []string{"b", "a"}, Body: []byte("one")}
	got, err := d.Get(ctx, "services", id(1))
	if err != nil || !reflect.DeepEqual(got, want) {
		d.Errorf("Get = %+v, %v, want %+v", got, err, want)
	}
	if got, err := d.Find(ctx, "services", store.Key{Index: "name", Value: "one"}); err != nil || !reflect.DeepEqual(got, want) {
		d.Errorf("Find = %+v, %v, want %+v", got, err, want)
	}
	second := d.commit(named(put("services", 1, "two"), "two"))
	want = &store.Object{Kind: "services", ID: id(1), Rev: second, Body: []byte("two")}
	if got, err := d.Get(ctx, "services", id(1)); err != nil || !reflect.DeepEqual(got, want) {
		d.Errorf("Get after replace = %+v, %v, want %+v", got, err, want)
	}
	if _, err := d.Find(ctx, "services", store.Key{Index: "name", Value: "one"}); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Find of the old key = %v, want ErrNotFound", err)
	}
	d.commit(remove("services", 1))
	if got := d.body("services", 1); got != "-" {
		d.Errorf("Get after delete = %q, want nothing", got)
	}
	if _, err := d.Find(ctx, "services", store.Key{Index: "name", Value: "two"}); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Find after delete = %v, want ErrNotFound", err)
	}
}

// An entity whose fields are all unset encodes to nothing.
func emptyBody(ctx context.Context, d *desk) {
	d.commit(put("services", 1, ""))
	d.commit(put("services", 1, ""))
	d.commit(remove("services", 1))
	all := d.changes(0, 0)
	if len(all) != 3 {
		d.Fatalf("Changes = %v, want 3", all)
	}
	for i, want := range []struct{ before, after bool }{{false, true}, {true, true}, {true, false}} {
		if c := all[i]; (c.Before != nil) != want.before || (c.After != nil) != want.after {
			d.Errorf("change %d has before %v and after %v, want %v", i, c.Before != nil, c.After != nil, want)
		}
	}
	_, objects := d.load(2)
	if len(objects) != 1 || objects[0].Body == nil || objects[0].Rev != 2 {
		d.Errorf("Load(2) = %v, want one object with an empty body", objects)
	}
}

func oneCommitOneRevision(ctx context.Context, d *desk) {
	from := time.Now().Add(-time.Minute)
	r, err := d.Commit(ctx, store.Commit{
		Ops:   []store.Op{put("services", 2, "b"), put("services", 1, "a")},
		Actor: "ann", Message: "because", Client: "curl", RequestID: "r-1",
	})
	if err != nil {
		d.Fatal(err)
	}
	if r.At.Before(from) || r.At.After(time.Now().Add(time.Minute)) {
		d.Errorf("revision is of %v, want now", r.At)
	}
	want := store.Revision{Rev: 1, At: r.At, Actor: "ann", Message: "because", Client: "curl", RequestID: "r-1", Changes: 2}
	if r != want {
		d.Errorf("Commit = %+v, want %+v", r, want)
	}
	if got, err := d.Revision(ctx, 1); err != nil || got != want {
		d.Errorf("Revision = %+v, %v, want %+v", got, err, want)
	}
	if got := d.commit(put("services", 3, "c")); got != 2 {
		d.Errorf("next revision = %d, want 2", got)
	}
	if got := d.head(); got != 2 {
		d.Errorf("head = %d, want 2", got)
	}
	wantChanges := []store.Change{
		{Rev: 1, Seq: 0, Kind: "services", ID: id(2), After: []byte("b")},
		{Rev: 1, Seq: 1, Kind: "services", ID: id(1), After: []byte("a")},
		{Rev: 2, Seq: 0, Kind: "services", ID: id(3), After: []byte("c")},
	}
	if got := d.changes(0, 0); !reflect.DeepEqual(got, wantChanges) {
		d.Errorf("Changes = %v, want %v", got, wantChanges)
	}
}

func changesNothing(ctx context.Context, d *desk) {
	d.commit(put("services", 1, "a"))
	head, err := d.Revision(ctx, 1)
	if err != nil {
		d.Fatal(err)
	}
	for name, ops := range map[string][]store.Op{
		"no ops":                nil,
		"delete of nothing":     {remove("services", 9)},
		"create and delete":     {put("services", 9, "x"), remove("services", 9)},
		"delete of what is not": {matching(remove("services", 9), 0)},
	} {
		if r, err := d.Commit(ctx, store.Commit{Ops: ops}); err != nil || r != head {
			d.Errorf("%s: Commit = %+v, %v, want the head %+v", name, r, err, head)
		}
	}
	if got := d.changes(1, 0); len(got) != 0 {
		d.Errorf("Changes = %v, want none", got)
	}
}

func oneChangeRow(_ context.Context, d *desk) {
	d.commit(named(put("services", 1, "a"), "x"), put("services", 2, "b"))
	rev := d.commit(remove("services", 1), put("services", 2, "b2"), named(put("services", 1, "a2"), "x"), put("services", 2, "b3"))
	want := []store.Change{
		{Rev: rev, Seq: 0, Kind: "services", ID: id(1), Before: []byte("a"), After: []byte("a2")},
		{Rev: rev, Seq: 1, Kind: "services", ID: id(2), Before: []byte("b"), After: []byte("b3")},
	}
	if got := d.changes(rev-1, rev); !reflect.DeepEqual(got, want) {
		d.Errorf("Changes = %v, want %v", got, want)
	}
}

func allOrNone(_ context.Context, d *desk) {
	d.commit(named(put("services", 1, "a"), "taken"))
	refuse[*store.UniqueError](d, put("services", 2, "b"), remove("services", 5), named(put("services", 3, "c"), "taken"))
	if got := d.body("services", 2); got != "-" {
		d.Errorf("the good half of a refused commit was written: %q", got)
	}
	if got := d.changes(1, 0); len(got) != 0 {
		d.Errorf("Changes = %v, want none", got)
	}
}

func ifMatch(_ context.Context, d *desk) {
	rev := d.commit(matching(put("services", 1, "a"), 0))
	for _, c := range []struct {
		op   store.Op
		want store.ConflictError
	}{
		{matching(put("services", 1, "b"), 0), store.ConflictError{Kind: "services", ID: id(1), Want: 0, Have: rev}},
		{matching(put("services", 1, "b"), rev+1), store.ConflictError{Kind: "services", ID: id(1), Want: rev + 1, Have: rev}},
		{matching(remove("services", 1), 0), store.ConflictError{Kind: "services", ID: id(1), Want: 0, Have: rev}},
		{matching(put("services", 2, "b"), 7), store.ConflictError{Kind: "services", ID: id(2), Want: 7, Have: 0}},
		{matching(remove("services", 2), 7), store.ConflictError{Kind: "services", ID: id(2), Want: 7, Have: 0}},
	} {
		if got := refuse[*store.ConflictError](d, c.op); *got != c.want {
			d.Errorf("Commit = %+v, want %+v", *got, c.want)
		}
	}
	next := d.commit(matching(put("services", 1, "b"), rev))
	d.commit(matching(remove("services", 1), next))
	if got := d.body("services", 1); got != "-" {
		d.Errorf("object = %q, want none", got)
	}
}

func ifHead(ctx context.Context, d *desk) {
	d.commit(put("services", 1, "a"))
	for _, c := range []struct {
		want uint64
		ops  []store.Op
	}{{0, []store.Op{put("services", 2, "b")}}, {2, []store.Op{put("services", 2, "b")}}, {0, nil}} {
		_, err := d.Commit(ctx, store.Commit{Ops: c.ops, IfHead: &c.want})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || *conflict != (store.ConflictError{Want: c.want, Have: 1}) {
			d.Errorf("Commit if head is %d = %v, want a conflict with 1", c.want, err)
		}
	}
	at := uint64(1)
	if r, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 2, "b")}, IfHead: &at}); err != nil || r.Rev != 2 {
		d.Errorf("Commit if head is 1 = %v, %v, want revision 2", r, err)
	}
}

func requestID(ctx context.Context, d *desk) {
	wild := "r\x00\xff-1" // whatever a client sends
	first, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 1, "a")}, RequestID: wild, Actor: "ann"})
	if err != nil {
		d.Fatal(err)
	}
	d.commit(put("services", 1, "b"))
	old := uint64(0)
	again, err := d.Commit(ctx, store.Commit{
		Ops: []store.Op{matching(put("services", 1, "c"), 99)}, RequestID: wild, Actor: "bob", IfHead: &old,
	})
	if err != nil || again != first {
		d.Errorf("Commit again = %+v, %v, want %+v", again, err, first)
	}
	if got := d.body("services", 1); got != "b" {
		d.Errorf("object = %q, want b", got)
	}
	// A refused commit does not use its id up.
	stale := uint64(0)
	if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 2, "x")}, RequestID: "r-2", IfHead: &stale}); err == nil {
		d.Error("a commit at a stale head was written")
	}
	if r, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 2, "x")}, RequestID: "r-2"}); err != nil || r.Rev != 3 {
		d.Errorf("Commit = %v, %v, want revision 3", r, err)
	}
}
