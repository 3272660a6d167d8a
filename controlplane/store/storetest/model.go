package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// model is a store for the eye: whole states, no index, no batch.
type model map[string]store.Op

func name(kind, id string) string { return kind + " " + id }

// try returns the state after ops, or false if it may not be.
func (m model) try(ops []store.Op) (model, bool) {
	next := maps.Clone(m)
	for _, op := range ops {
		delete(next, name(op.Kind, op.ID))
		if !op.Delete() {
			next[name(op.Kind, op.ID)] = op
		}
	}
	holders := map[string]string{}
	for n, op := range next {
		for _, r := range op.Refs {
			if _, ok := next[name(r.Kind, r.ID)]; !ok {
				return m, false
			}
		}
		for _, k := range op.Keys {
			key := op.Kind + "\x00" + k.Index + "\x00" + k.Value
			if h, ok := holders[key]; ok && h != n {
				return m, false
			}
			holders[key] = n
		}
	}
	return next, true
}

// randomOps draws a commit over few objects, keys and targets, so that they collide.
func randomOps(r *rand.Rand) []store.Op {
	ops := make([]store.Op, 1+r.IntN(4))
	for i := range ops {
		kind := []string{"a", "b"}[r.IntN(2)]
		if r.IntN(3) == 0 {
			ops[i] = remove(kind, r.IntN(4))
			continue
		}
		op := put(kind, r.IntN(4), fmt.Sprint(r.IntN(1000)))
		for range r.IntN(3) {
			op = named(op, fmt.Sprint(r.IntN(4)))
		}
		for range r.IntN(2) {
			op = referring(op, []string{"f", "g"}[r.IntN(2)], []string{"a", "b"}[r.IntN(2)], r.IntN(4))
		}
		for range r.IntN(3) {
			op = tagged(op, append(op.Tags, fmt.Sprint(r.IntN(3)))...)
		}
		ops[i] = op
	}
	return ops
}

// randomCommits sends random commits, many at once, and holds what was written to the
// model: each commit must have been judged by the state of the revision before its own.
func randomCommits(ctx context.Context, d *desk) {
	const writers, each = 8, 60
	var mu sync.Mutex
	written := map[uint64][]store.Op{}
	together(writers, func(w int) {
		r := rand.New(rand.NewPCG(7, uint64(w)))
		for i := range each {
			ops, request := randomOps(r), fmt.Sprint(w, "-", i)
			rev, err := d.Commit(ctx, store.Commit{Ops: ops, RequestID: request})
			var unique *store.UniqueError
			var reference *store.ReferenceError
			var referenced *store.ReferencedError
			if errors.As(err, &unique) || errors.As(err, &reference) || errors.As(err, &referenced) {
				continue
			}
			if err != nil {
				d.Errorf("Commit = %v", err)
				return
			}
			if rev.RequestID == request { // else it changed nothing and the head was the answer
				mu.Lock()
				written[rev.Rev] = ops
				mu.Unlock()
			}
		}
	})
	m := model{}
	for rev := uint64(1); rev <= d.head(); rev++ {
		next, ok := m.try(written[rev])
		if !ok {
			d.Fatalf("revision %d was written but may not be: %+v on %+v", rev, written[rev], m)
		}
		m = next
	}
	compare(d, m)
	sequel(ctx, d, m)
}

// sequel goes on with one writer, where every verdict can be foretold.
func sequel(ctx context.Context, d *desk, m model) {
	r := rand.New(rand.NewPCG(11, 13))
	for range 100 {
		ops := randomOps(r)
		next, ok := m.try(ops)
		if _, err := d.Commit(ctx, store.Commit{Ops: ops}); (err == nil) != ok {
			d.Fatalf("Commit(%+v) = %v on %+v, want success: %v", ops, err, m, ok)
		}
		m = next
	}
	compare(d, m)
}

// compare holds objects, keys, references and tags to the model.
func compare(d *desk, m model) {
	d.Helper()
	_, objects := d.load(0)
	if len(objects) != len(m) {
		d.Fatalf("store has %d objects, want %d", len(objects), len(m))
	}
	for _, o := range objects {
		op, ok := m[name(o.Kind, o.ID)]
		if !ok || string(op.Body) != string(o.Body) || !slices.Equal(op.Tags, o.Tags) {
			d.Errorf("object = %+v, want %+v", o, op.Object)
		}
	}
	for n := range 4 {
		for _, kind := range []string{"a", "b"} {
			compareKey(d, m, kind, fmt.Sprint(n))
			compareReferrers(d, m, kind, n)
		}
	}
}

func compareKey(d *desk, m model, kind, value string) {
	d.Helper()
	want := ""
	for _, op := range m {
		if op.Kind == kind && slices.Contains(op.Keys, store.Key{Index: "name", Value: value}) {
			want = op.ID
		}
	}
	got := ""
	if o, err := d.Find(d.ctx, kind, store.Key{Index: "name", Value: value}); err == nil {
		got = o.ID
	} else if !errors.Is(err, store.ErrNotFound) {
		d.Fatal(err)
	}
	if got != want {
		d.Errorf("Find(%s, %s) = %q, want %q", kind, value, got, want)
	}
}

func compareReferrers(d *desk, m model, kind string, n int) {
	d.Helper()
	want := map[string]bool{}
	for _, op := range m {
		for _, r := range op.Refs {
			if r.Kind == kind && r.ID == id(n) {
				want[op.Kind+op.ID+r.Field] = true
			}
		}
	}
	list, err := d.Referrers(d.ctx, kind, id(n), 100)
	if err != nil {
		d.Fatal(err)
	}
	got := map[string]bool{}
	for _, r := range list {
		got[r.Kind+r.ID+r.Field] = true
	}
	if !maps.Equal(got, want) {
		d.Errorf("Referrers(%s, %d) = %v, want %v", kind, n, got, want)
	}
}
