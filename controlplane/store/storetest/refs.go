package storetest

import (
	"context"
	"reflect"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func referencesMustExist(_ context.Context, d *desk) {
	route := referring(put("routes", 1, "r"), "service", "services", 1)
	got := refuse[*store.ReferenceError](d, route)
	want := store.ReferenceError{Kind: "routes", ID: id(1), Ref: store.Ref{Field: "service", Kind: "services", ID: id(1)}}
	if *got != want {
		d.Errorf("Commit = %+v, want %+v", *got, want)
	}
	d.commit(route, put("services", 1, "s")) // the target comes later in the same commit
	refuse[*store.ReferencedError](d, remove("services", 1), route)
	refuse[*store.ReferenceError](d, remove("services", 1), referring(put("routes", 2, "r"), "service", "services", 1), remove("routes", 1))
	d.commit(referring(put("tree", 1, "t"), "parent", "tree", 1)) // to itself
	d.commit(remove("tree", 1))
}

func referredStays(_ context.Context, d *desk) {
	d.commit(put("services", 1, "s"), put("services", 2, "s"),
		referring(put("routes", 2, "r"), "service", "services", 1),
		referring(put("routes", 1, "r"), "service", "services", 1))
	got := refuse[*store.ReferencedError](d, remove("services", 1))
	want := store.ReferencedError{Kind: "services", ID: id(1), ByKind: "routes", ByID: id(1), Field: "service"}
	if *got != want {
		d.Errorf("Commit = %+v, want %+v", *got, want)
	}
	refuse[*store.ReferencedError](d, remove("services", 1), remove("routes", 1)) // route 2 still does
	d.commit(referring(put("routes", 1, "r"), "service", "services", 2),
		remove("services", 1), remove("routes", 2))
	d.commit(remove("routes", 1))
	d.commit(remove("services", 2))
}

func cascade(_ context.Context, d *desk) {
	d.commit(put("services", 1, "s"),
		referring(put("routes", 1, "r1"), "service", "services", 1),
		referring(put("routes", 2, "r2"), "service", "services", 1),
		referring(put("plugins", 1, "p"), "route", "routes", 1))
	rev := d.commit(remove("services", 1), remove("routes", 2), remove("plugins", 1), remove("routes", 1))
	want := []store.Change{
		{Rev: rev, Seq: 0, Kind: "services", ID: id(1), Before: []byte("s")},
		{Rev: rev, Seq: 1, Kind: "routes", ID: id(2), Before: []byte("r2")},
		{Rev: rev, Seq: 2, Kind: "plugins", ID: id(1), Before: []byte("p")},
		{Rev: rev, Seq: 3, Kind: "routes", ID: id(1), Before: []byte("r1")},
	}
	if got := d.changes(rev-1, 0); !reflect.DeepEqual(got, want) {
		d.Errorf("Changes = %v, want %v", got, want)
	}
}

func referrers(ctx context.Context, d *desk) {
	both := referring(referring(put("routes", 3, "r"), "b", "services", 1), "a", "services", 1)
	rev := d.commit(put("services", 1, "s"), both,
		tagged(referring(put("routes", 2, "r2"), "service", "services", 1), "x"),
		referring(put("plugins", 9, "p"), "service", "services", 1),
		referring(put("routes", 1, "other"), "service", "services", 1))
	d.commit(put("routes", 1, "no longer"))
	object := func(kind string, n int, body string, tags ...string) store.Object {
		return store.Object{Kind: kind, ID: id(n), Rev: rev, Body: []byte(body), Tags: tags}
	}
	want := []store.Referrer{
		{Object: object("plugins", 9, "p"), Field: "service"},
		{Object: object("routes", 2, "r2", "x"), Field: "service"},
		{Object: object("routes", 3, "r"), Field: "a"},
		{Object: object("routes", 3, "r"), Field: "b"},
	}
	for limit := range len(want) + 2 {
		got, err := d.Referrers(ctx, "services", id(1), limit)
		if err != nil || len(got) != min(limit, len(want)) || (limit > 0 && !reflect.DeepEqual(got, want[:len(got)])) {
			d.Errorf("Referrers up to %d = %v, %v, want %v", limit, got, err, want[:min(limit, len(want))])
		}
	}
}
