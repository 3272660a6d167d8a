package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// story commits a life of a few objects and returns what Load said after each revision.
func story(d *desk) [][]store.Object {
	states := [][]store.Object{nil}
	for _, ops := range [][]store.Op{
		{put("services", 1, "s1"), tagged(put("services", 2, "s2"), "x")},
		{tagged(put("services", 1, "s1b"), "y", "z")},
		{remove("services", 2), referring(put("routes", 1, "r1"), "service", "services", 1)},
		{put("services", 2, "s2 again")},
		{remove("routes", 1), remove("services", 1), put("services", 3, "")},
		{put("services", 3, "s3"), tagged(put("services", 1, "s1 again"), "x")},
	} {
		rev := d.commit(ops...)
		got, objects := d.load(0)
		if got != rev {
			d.Fatalf("Load(0) is of %d, want %d", got, rev)
		}
		states = append(states, objects)
	}
	return states
}

func loadEqualsReplay(_ context.Context, d *desk) {
	states := story(d)
	replay := map[string]string{}
	all := d.changes(0, 0)
	for rev := range states {
		for len(all) > 0 && all[0].Rev == uint64(rev) {
			c := all[0]
			all = all[1:]
			name := c.Kind + " " + c.ID
			if body, ok := replay[name]; ok != (c.Before != nil) || body != string(c.Before) {
				d.Errorf("change %d/%d of %s is before %q, want %q", c.Rev, c.Seq, name, c.Before, body)
			}
			delete(replay, name)
			if c.After != nil {
				replay[name] = string(c.After)
			}
		}
		loaded := map[string]string{}
		for _, o := range states[rev] {
			loaded[o.Kind+" "+o.ID] = string(o.Body)
		}
		if !maps.Equal(loaded, replay) {
			d.Errorf("revision %d: Load = %v, changes add up to %v", rev, loaded, replay)
		}
	}
	if len(all) != 0 {
		d.Errorf("changes are left over: %v", all)
	}
}

func loadOfAnotherTime(ctx context.Context, d *desk) {
	states := story(d)
	for rev := 1; rev < len(states); rev++ {
		at, got := d.load(uint64(rev))
		if at != uint64(rev) || !reflect.DeepEqual(got, states[rev]) {
			d.Errorf("Load(%d) = %d, %v, want %v", rev, at, got, states[rev])
		}
	}
	if _, _, err := d.Load(ctx, uint64(len(states))); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Load above the head = %v, want ErrNotFound", err)
	}
	// A view taken before a commit shows the state before it.
	rev, objects, err := d.Load(ctx, 0)
	if err != nil {
		d.Fatal(err)
	}
	d.commit(put("services", 1, "later"), put("zebras", 1, "later"))
	for range 2 {
		var got []store.Object
		for o, err := range objects {
			if err != nil {
				d.Fatal(err)
			}
			got = append(got, o)
		}
		if !reflect.DeepEqual(got, states[rev]) {
			d.Errorf("view of %d = %v, want %v", rev, got, states[rev])
		}
	}
}

func changesBetween(ctx context.Context, d *desk) {
	story(d)
	all := d.changes(0, 0)
	head := d.head()
	for after := range head + 1 {
		for to := after; to <= head; to++ {
			var want []store.Change
			for _, c := range all {
				if c.Rev > after && (c.Rev <= to || to == 0) {
					want = append(want, c)
				}
			}
			if got := d.changes(after, to); !reflect.DeepEqual(got, want) {
				d.Errorf("Changes(%d, %d) = %v, want %v", after, to, got, want)
			}
		}
	}
	if got := d.changes(head+5, 0); len(got) != 0 {
		d.Errorf("Changes after the head = %v, want none", got)
	}
	for _, err := range d.Changes(ctx, 0, head+1) {
		if !errors.Is(err, store.ErrNotFound) {
			d.Errorf("Changes to above the head = %v, want ErrNotFound", err)
		}
	}
}

func revisions(ctx context.Context, d *desk) {
	for i := range 6 {
		_, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", i%2, fmt.Sprint(i))}, Actor: []string{"ann", "bob", "ann"}[i%3]})
		if err != nil {
			d.Fatal(err)
		}
	}
	for _, c := range []struct {
		q    store.RevisionQuery
		want []uint64
	}{
		{store.RevisionQuery{Size: 9}, []uint64{6, 5, 4, 3, 2, 1}},
		{store.RevisionQuery{Size: 2}, []uint64{6, 5}},
		{store.RevisionQuery{Size: 2, Before: 5}, []uint64{4, 3}},
		{store.RevisionQuery{Size: 9, Before: 1}, nil},
		{store.RevisionQuery{Size: 9, Before: ^uint64(0)}, []uint64{6, 5, 4, 3, 2, 1}},
		{store.RevisionQuery{Size: 9, Actor: "bob"}, []uint64{5, 2}},
		{store.RevisionQuery{Size: 9, Kind: "services", ID: id(1)}, []uint64{6, 4, 2}},
		{store.RevisionQuery{Size: 9, Kind: "services", ID: id(1), Actor: "ann", Before: 6}, []uint64{4}},
		{store.RevisionQuery{Size: 9, Kind: "services", ID: id(7)}, nil},
	} {
		list, err := d.Revisions(ctx, c.q)
		var got []uint64
		for _, r := range list {
			got = append(got, r.Rev)
			if r.Changes != 1 || r.At.IsZero() {
				d.Errorf("revision %+v, want its origin", r)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			d.Errorf("Revisions(%+v) = %v, %v, want %v", c.q, got, err, c.want)
		}
	}
	for _, rev := range []uint64{0, 7, ^uint64(0)} {
		if _, err := d.Revision(ctx, rev); !errors.Is(err, store.ErrNotFound) {
			d.Errorf("Revision(%d) = %v, want ErrNotFound", rev, err)
		}
	}
	if _, err := d.Revisions(ctx, store.RevisionQuery{Kind: "services", Size: 1}); !errors.Is(err, store.ErrInvalid) {
		d.Errorf("Revisions of a kind without an id = %v, want ErrInvalid", err)
	}
}
