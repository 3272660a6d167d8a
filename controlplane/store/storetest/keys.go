package storetest

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func keyNamesHolder(_ context.Context, d *desk) {
	d.commit(named(put("services", 1, "a"), "x"))
	got := refuse[*store.UniqueError](d, named(put("services", 2, "b"), "w", "x"))
	want := store.UniqueError{Kind: "services", ID: id(2), Key: store.Key{Index: "name", Value: "x"}, Holder: id(1)}
	if *got != want {
		d.Errorf("Commit = %+v, want %+v", *got, want)
	}
	got = refuse[*store.UniqueError](d, named(put("services", 3, "c"), "new"), named(put("services", 4, "d"), "new"))
	want = store.UniqueError{Kind: "services", ID: id(4), Key: store.Key{Index: "name", Value: "new"}, Holder: id(3)}
	if *got != want {
		d.Errorf("two in one commit: %+v, want %+v", *got, want)
	}
	d.commit(named(put("services", 1, "a2"), "x", "x")) // its own key, said twice
	d.commit(put("services", 1, "a3"))                  // gives it up
	d.commit(named(put("services", 2, "b"), "x"))
}

func keysMove(ctx context.Context, d *desk) {
	d.commit(named(put("services", 1, "a"), "x"), named(put("services", 2, "b"), "y"))
	d.commit(named(put("services", 1, "a"), "y"), named(put("services", 2, "b"), "x")) // swap
	d.commit(remove("services", 1), named(put("services", 3, "c"), "y"))               // delete, then create
	d.commit(named(put("services", 4, "d"), "y"), remove("services", 3))               // create, then delete
	d.commit(remove("services", 4), named(put("services", 4, "d2"), "y"))              // the same object again
	for name, want := range map[string]string{"x": id(2), "y": id(4)} {
		if o, err := d.Find(ctx, "services", store.Key{Index: "name", Value: name}); err != nil || o.ID != want {
			d.Errorf("Find(%s) = %v, %v, want %s", name, o, err, want)
		}
	}
	refuse[*store.UniqueError](d, named(put("services", 2, "b"), "y"))
	refuse[*store.UniqueError](d, remove("services", 4), named(put("services", 4, "d3"), "x"))
}

func keysApart(_ context.Context, d *desk) {
	a := named(put("services", 1, "a"), "x")
	b := named(put("routes", 1, "b"), "x")
	c := put("services", 2, "c")
	c.Keys = []store.Key{{Index: "host", Value: "x"}}
	d.commit(a, b, c)
	e := put("services", 3, "e")
	e.Keys = []store.Key{{Index: "host", Value: "x"}}
	refuse[*store.UniqueError](d, e)
}

func anyBytes(ctx context.Context, d *desk) {
	long := strings.Repeat("k", 5000)
	values := []string{"", "\x00", "a\x1fb\x00c", "\xff\xfe", "日本", "x", "x\x00", strings.Repeat("e", 1023), strings.Repeat("e", 1024),
		long, long + "1", long + "2"}
	var ops []store.Op
	for i, v := range values {
		ops = append(ops, tagged(named(put("services", i, v), v), "t"+v))
	}
	d.commit(ops...)
	for i, v := range values {
		if o, err := d.Find(ctx, "services", store.Key{Index: "name", Value: v}); err != nil || o.ID != id(i) {
			d.Errorf("Find(%.20q...) = %v, %v, want %s", v, o, err, id(i))
		}
		list, err := d.List(ctx, store.Query{Kind: "services", AllTags: []string{"t" + v}, Size: 9})
		if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0].Tags, []string{"t" + v}) {
			d.Errorf("List by tag t%.20q... = %d objects, %v, want its one", v, len(list), err)
		}
		tags, err := d.Tags(ctx, store.TagQuery{Tag: "t" + v, Size: 9})
		if err != nil || !reflect.DeepEqual(tags, []store.Tag{{Kind: "services", ID: id(i), Tag: "t" + v}}) {
			d.Errorf("Tags(t%.20q...) = %d tags, %v, want its one", v, len(tags), err)
		}
		got := refuse[*store.UniqueError](d, named(put("services", 99, "thief"), v))
		if got.Key.Value != v || got.Holder != id(i) {
			d.Errorf("taken key = %.20q... of %s, want %.20q... of %s", got.Key.Value, got.Holder, v, id(i))
		}
	}
	ops = ops[:0]
	for i := range values { // all keys and tags are let go
		ops = append(ops, put("services", i, "bare"))
	}
	d.commit(ops...)
	for _, v := range values {
		if _, err := d.Find(ctx, "services", store.Key{Index: "name", Value: v}); !errors.Is(err, store.ErrNotFound) {
			d.Errorf("Find(%.20q...) = %v, want ErrNotFound", v, err)
		}
	}
	if tags, err := d.Tags(ctx, store.TagQuery{Size: 9}); err != nil || len(tags) != 0 {
		d.Errorf("Tags = %v, %v, want none", tags, err)
	}
}

func notesOfAnyBytes(ctx context.Context, d *desk) {
	r, err := d.Commit(ctx, store.Commit{
		Ops: []store.Op{put("services", 1, "a")}, Actor: "a\x00\xff", Message: "m\x00", Client: "\xfe",
	})
	if err != nil {
		d.Fatal(err)
	}
	if r.Actor != "a\uFFFD\uFFFD" || r.Message != "m\uFFFD" || r.Client != "\uFFFD" {
		d.Errorf("notes = %q, %q, %q, want U+FFFD for what is no text", r.Actor, r.Message, r.Client)
	}
	list, err := d.Revisions(ctx, store.RevisionQuery{Actor: "a\x00\xff", Size: 9})
	if err != nil || len(list) != 1 || list[0] != r {
		d.Errorf("Revisions by actor = %v, %v, want %v", list, err, r)
	}
}

func bounds(ctx context.Context, d *desk) {
	limit := store.MaxObjectBytes
	big := func(n, size int) store.Op { return put("services", n, strings.Repeat("x", size)) }
	d.commit(big(1, limit))
	got := refuse[*store.TooLargeError](d, put("services", 3, "fits"), big(2, limit+1))
	if want := (store.TooLargeError{Kind: "services", ID: id(2), Size: limit + 1, Limit: limit}); *got != want {
		d.Errorf("Commit = %+v, want %+v", *got, want)
	}
	var ops []store.Op
	for i := range 31 {
		ops = append(ops, big(10+i, limit))
	}
	d.commit(ops...)
	ops = append(ops, big(41, limit))
	got = refuse[*store.TooLargeError](d, ops...)
	if got.Kind != "" || got.Limit != store.MaxCommitBytes || got.Size <= got.Limit {
		d.Errorf("Commit = %+v, want one above %d", *got, store.MaxCommitBytes)
	}
	o, err := d.Get(ctx, "services", id(40))
	if err != nil || len(o.Body) != limit {
		d.Errorf("Get = %v, want a body of %d bytes", err, limit)
	}
}

func malformed(ctx context.Context, d *desk) {
	long := strings.Repeat("x", 200)
	with := func(f func(*store.Op)) store.Commit {
		op := put("services", 1, "a")
		f(&op)
		return store.Commit{Ops: []store.Op{op}}
	}
	for name, c := range map[string]store.Commit{
		"no kind":             with(func(o *store.Op) { o.Kind = "" }),
		"no id":               with(func(o *store.Op) { o.ID = "" }),
		"id with NUL":         with(func(o *store.Op) { o.ID = "a\x00" }),
		"kind not UTF-8":      with(func(o *store.Op) { o.Kind = "\xff" }),
		"long id":             with(func(o *store.Op) { o.ID = long }),
		"index not UTF-8":     with(func(o *store.Op) { o.Keys = []store.Key{{Index: "\xff"}} }),
		"no index":            with(func(o *store.Op) { o.Keys = []store.Key{{Value: "x"}} }),
		"no reference target": with(func(o *store.Op) { o.Refs = []store.Ref{{Field: "f", Kind: "k"}} }),
		"long request id":     {RequestID: strings.Repeat("r", 2000)},
		"long actor":          {Actor: strings.Repeat("r", 2000)},
	} {
		if _, err := d.Commit(ctx, c); !errors.Is(err, store.ErrInvalid) {
			d.Errorf("%s: Commit = %v, want ErrInvalid", name, err)
		}
	}
	for name, q := range map[string]store.Query{
		"no kind":       {Size: 1},
		"negative size": {Kind: "services", Size: -1},
		"wild after":    {Kind: "services", Size: 1, After: "\x00"},
		"many tags":     {Kind: "services", Size: 1, AnyTags: make([]string, 100)},
		"wild ref":      {Kind: "services", Size: 1, Ref: &store.Ref{Field: "f", Kind: "\xff", ID: "x"}},
	} {
		if _, err := d.List(ctx, q); !errors.Is(err, store.ErrInvalid) {
			d.Errorf("%s: List = %v, want ErrInvalid", name, err)
		}
	}
	if _, err := d.Get(ctx, "services", "\x00\xff"); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Get of a wild id = %v, want ErrNotFound", err)
	}
	if _, err := d.Find(ctx, "\x00", store.Key{Index: "\xff"}); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Find of a wild index = %v, want ErrNotFound", err)
	}
	if list, err := d.Referrers(ctx, "\x00", "\xff", 1); err != nil || len(list) != 0 {
		d.Errorf("Referrers of a wild id = %v, %v, want none", list, err)
	}
	if _, err := d.Referrers(ctx, "a", "b", -1); !errors.Is(err, store.ErrInvalid) {
		d.Errorf("Referrers, size -1 = %v, want ErrInvalid", err)
	}
	if _, err := d.Tags(ctx, store.TagQuery{Size: 1, After: &store.Tag{Kind: "\x00"}}); !errors.Is(err, store.ErrInvalid) {
		d.Errorf("Tags after a wild kind = %v, want ErrInvalid", err)
	}
	if _, err := d.Secret(ctx, "\x00", []byte("x")); !errors.Is(err, store.ErrInvalid) {
		d.Errorf("Secret of a wild name = %v, want ErrInvalid", err)
	}
	if got := d.head(); got != 0 {
		d.Errorf("head = %d, want 0", got)
	}
}
