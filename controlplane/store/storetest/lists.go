package storetest

import (
	"context"
	"reflect"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func listPages(ctx context.Context, d *desk) {
	var ops []store.Op
	for _, n := range []int{5, 3, 1, 4, 2} {
		ops = append(ops, put("services", n, "s"), put("routes", n+10, "r"))
	}
	d.commit(ops...)
	var got []string
	after := ""
	for {
		page, err := d.List(ctx, store.Query{Kind: "services", After: after, Size: 2})
		if err != nil {
			d.Fatal(err)
		}
		if len(page) > 2 {
			d.Fatalf("page has %d objects, want at most 2", len(page))
		}
		if len(page) == 0 {
			break
		}
		got = append(got, ids(page)...)
		after = page[len(page)-1].ID
	}
	if want := idsOf(1, 2, 3, 4, 5); !slices.Equal(got, want) {
		d.Errorf("pages = %v, want %v", got, want)
	}
	if page, err := d.List(ctx, store.Query{Kind: "services"}); err != nil || len(page) != 0 {
		d.Errorf("List, size 0 = %v, %v, want none", page, err)
	}
	if page, err := d.List(ctx, store.Query{Kind: "services", After: id(2) + "x", Size: 9}); err != nil || !slices.Equal(ids(page), idsOf(3, 4, 5)) {
		d.Errorf("List after a place between = %v, %v, want 3, 4, 5", ids(page), err)
	}
}

func listByTags(ctx context.Context, d *desk) {
	d.commit(
		tagged(put("services", 1, "s"), "a", "b", "a"),
		tagged(put("services", 2, "s"), "b"),
		tagged(put("services", 3, "s"), "a", "c"),
		put("services", 4, "s"),
		tagged(put("services", 5, "s"), "c", "b", "a"),
		tagged(put("routes", 6, "r"), "a"))
	d.commit(tagged(put("services", 3, "s"), "c", "d")) // no longer a
	for _, c := range []struct {
		all, any []string
		after    string
		want     []int
	}{
		{all: []string{"a"}, want: []int{1, 5}},
		{all: []string{"a", "b", "c"}, want: []int{5}},
		{all: []string{"a", "x"}},
		{any: []string{"a", "d"}, want: []int{1, 3, 5}},
		{any: []string{"x"}},
		{all: []string{"b"}, any: []string{"c", "d"}, want: []int{5}},
		{any: []string{"a", "b", "c"}, after: id(2), want: []int{3, 5}},
		{all: []string{"A"}},
		{want: []int{1, 2, 3, 4, 5}},
	} {
		got, err := d.List(ctx, store.Query{Kind: "services", AllTags: c.all, AnyTags: c.any, After: c.after, Size: 9})
		if err != nil || !slices.Equal(ids(got), idsOf(c.want...)) {
			d.Errorf("List(all %v, any %v, after %q) = %v, %v, want %v", c.all, c.any, c.after, ids(got), err, c.want)
		}
	}
	if o, err := d.Get(ctx, "services", id(1)); err != nil || !slices.Equal(o.Tags, []string{"a", "b", "a"}) {
		d.Errorf("Get = %v, %v, want the tags as they were given", o, err)
	}
}

func listByReference(ctx context.Context, d *desk) {
	d.commit(put("services", 1, "s"), put("services", 2, "s"),
		tagged(referring(put("routes", 1, "r"), "service", "services", 1), "a"),
		referring(put("routes", 2, "r"), "service", "services", 2),
		referring(put("routes", 3, "r"), "service", "services", 1),
		referring(put("routes", 4, "r"), "backup", "services", 1))
	ref := &store.Ref{Field: "service", Kind: "services", ID: id(1)}
	for _, c := range []struct {
		q    store.Query
		want []int
	}{
		{store.Query{Kind: "routes", Ref: ref, Size: 9}, []int{1, 3}},
		{store.Query{Kind: "routes", Ref: ref, Size: 1}, []int{1}},
		{store.Query{Kind: "routes", Ref: ref, Size: 9, After: id(1)}, []int{3}},
		{store.Query{Kind: "routes", Ref: ref, Size: 9, AllTags: []string{"a"}}, []int{1}},
		{store.Query{Kind: "plugins", Ref: ref, Size: 9}, nil},
	} {
		if got, err := d.List(ctx, c.q); err != nil || !slices.Equal(ids(got), idsOf(c.want...)) {
			d.Errorf("List(%+v) = %v, %v, want %v", c.q, ids(got), err, c.want)
		}
	}
}

func tagPages(ctx context.Context, d *desk) {
	d.commit(tagged(put("services", 2, "s"), "b", "a"), tagged(put("services", 1, "s"), "c", "a", "c"), tagged(put("routes", 9, "r"), "a"))
	want := []store.Tag{
		{Kind: "routes", ID: id(9), Tag: "a"},
		{Kind: "services", ID: id(1), Tag: "c"},
		{Kind: "services", ID: id(1), Tag: "a"},
		{Kind: "services", ID: id(2), Tag: "b"},
		{Kind: "services", ID: id(2), Tag: "a"},
	}
	var got []store.Tag
	var after *store.Tag
	for {
		page, err := d.Tags(ctx, store.TagQuery{After: after, Size: 2})
		if err != nil {
			d.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = &page[len(page)-1]
	}
	if !reflect.DeepEqual(got, want) {
		d.Errorf("Tags = %v, want %v", got, want)
	}
	one, err := d.Tags(ctx, store.TagQuery{Tag: "a", After: &want[0], Size: 9})
	if err != nil || !reflect.DeepEqual(one, []store.Tag{want[2], want[4]}) {
		d.Errorf("Tags(a) = %v, %v, want %v", one, err, []store.Tag{want[2], want[4]})
	}
	d.commit(remove("services", 1), remove("services", 2))
	if left, err := d.Tags(ctx, store.TagQuery{Size: 9}); err != nil || !reflect.DeepEqual(left, want[:1]) {
		d.Errorf("Tags after deletes = %v, %v, want %v", left, err, want[:1])
	}
}
