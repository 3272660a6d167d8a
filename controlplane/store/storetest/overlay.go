package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Overlay is a store whose commits wait over another one.
type Overlay interface {
	store.Store
	// Ops are all waiting commits as one.
	Ops() []store.Op
}

// RunOverlay holds an overlay to the contract: it reads and judges as if its commits were
// made, the store below does not know of them, and one commit makes them.
func RunOverlay(t *testing.T, open Open, over func(store.Store) Overlay) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			base := &desk{T: t, Store: open(t), ctx: t.Context()}
			below := randomState(base, seed)
			o := over(base.Store)
			above := overlaid(&desk{T: t, Store: o, ctx: t.Context()}, below, seed)
			compare(base, below)
			ops := o.Ops()
			if len(ops) > 0 {
				base.commit(ops...)
			}
			compare(base, above)
		})
	}
	t.Run("conflict", func(t *testing.T) {
		t.Parallel()
		overlayConflict(&desk{T: t, Store: open(t), ctx: t.Context()}, over)
	})
}

// randomState makes commits that may be made, and returns what they come to.
func randomState(d *desk, seed uint64) model {
	m, r := model{}, rand.New(rand.NewPCG(seed, 1))
	for range 30 {
		ops := randomOps(r)
		if next, ok := m.try(ops); ok {
			d.commit(ops...)
			m = next
		}
	}
	return m
}

func overlaid(d *desk, m model, seed uint64) model {
	d.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range 40 {
		ops := randomOps(r)
		next, ok := m.try(ops)
		_, dry := d.Commit(d.ctx, store.Commit{Ops: ops, DryRun: true})
		_, err := d.Commit(d.ctx, store.Commit{Ops: ops})
		if (err == nil) != ok || (dry == nil) != ok {
			d.Fatalf("Commit(%+v) = %v, dry %v on %+v, want success: %v", ops, err, dry, m, ok)
		}
		m = next
		if i%8 == 7 {
			compare(d, m)
			comparePages(d, m)
		}
	}
	return m
}

// comparePages holds lists of all sizes, tags and counts to the model.
func comparePages(d *desk, m model) {
	d.Helper()
	for _, kind := range []string{"a", "b"} {
		for _, tag := range []string{"", "0", "1"} {
			for size := 1; size < 6; size++ {
				compareList(d, m, kind, tag, size)
			}
		}
	}
	counts, err := d.Count(d.ctx)
	if err != nil || counts["a"]+counts["b"] != len(m) {
		d.Errorf("Count = %v, %v, want %d", counts, err, len(m))
	}
	want, got := map[store.Tag]bool{}, map[store.Tag]bool{}
	for _, op := range m {
		for _, tag := range op.Tags {
			want[store.Tag{Kind: op.Kind, ID: op.ID, Tag: tag}] = true
		}
	}
	for q := (store.TagQuery{Size: 2}); ; {
		page, err := d.Tags(d.ctx, q)
		if err != nil {
			d.Fatal(err)
		}
		for _, tag := range page {
			got[tag] = true
		}
		if len(page) < q.Size {
			break
		}
		q.After = &page[len(page)-1]
	}
	if !maps.Equal(got, want) {
		d.Errorf("pages of tags hold %v, want %v", got, want)
	}
}

func compareList(d *desk, m model, kind, tag string, size int) {
	d.Helper()
	var want, got []string
	for _, op := range m {
		if op.Kind == kind && (tag == "" || slices.Contains(op.Tags, tag)) {
			want = append(want, op.ID)
		}
	}
	slices.Sort(want)
	q := store.Query{Kind: kind, Size: size}
	if tag != "" {
		q.AllTags = []string{tag}
	}
	for {
		page, err := d.List(d.ctx, q)
		if err != nil {
			d.Fatal(err)
		}
		for _, o := range page {
			got = append(got, o.ID)
		}
		if len(page) < size {
			break
		}
		q.After = page[len(page)-1].ID
	}
	if !slices.Equal(got, want) {
		d.Errorf("List(%s, tag %q) by %d = %v, want %v", kind, tag, size, got, want)
	}
}

// overlayConflict changes an object below that the overlay changed, and one that it did not.
func overlayConflict(d *desk, over func(store.Store) Overlay) {
	d.commit(put("services", 1, "one"), put("services", 2, "two"))
	o := over(d.Store)
	upper := &desk{T: d.T, Store: o, ctx: d.ctx}
	if _, err := upper.Commit(d.ctx, store.Commit{Ops: []store.Op{put("services", 1, "mine"), put("services", 3, "new")}}); err != nil {
		d.Fatal(err)
	}
	d.commit(put("services", 2, "theirs"))
	if got, err := upper.Get(d.ctx, "services", id(2)); err != nil || string(got.Body) != "theirs" {
		d.Errorf("what the overlay did not touch = %v, %v", got, err)
	}
	d.commit(put("services", 1, "theirs"))
	_, err := d.Commit(d.ctx, store.Commit{Ops: o.Ops()})
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Kind != "services" || conflict.ID != id(1) {
		d.Errorf("publishing over a change = %v, want a conflict that names it", err)
	}
	if _, err := d.Get(d.ctx, "services", id(3)); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("half of a refused draft is there: %v", err)
	}
}
