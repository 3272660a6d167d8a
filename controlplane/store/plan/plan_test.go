package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// tables is a database for the eye, with constraints checked by looking at everything.
type tables struct {
	rev     uint64
	objects map[Name]*Held
}

// ledger reads from the tables what need names, as a store does.
func (t *tables) ledger(need Need) *Ledger {
	l := New(store.Revision{Rev: t.rev}, time.Unix(1, 0))
	for _, n := range need.Objects {
		if h := t.objects[n]; h != nil {
			l.SetObject(n, h.Rev, h.Tags, h.Body)
			for _, k := range h.Keys {
				l.AddKey(n, k)
			}
			for _, r := range h.Refs {
				l.AddRef(n, r)
			}
		}
	}
	for _, k := range need.Keys {
		for n, h := range t.objects {
			if n.Kind == k.Kind && slices.Contains(h.Keys, store.Key{Index: k.Index, Value: k.Value}) {
				l.SetHolder(k, n.ID)
			}
		}
	}
	for _, n := range need.Targets {
		if t.objects[n] != nil {
			l.SetTarget(n)
		}
	}
	names := slices.SortedFunc(maps.Keys(t.objects), func(a, b Name) int { return strings.Compare(b.Kind+b.ID, a.Kind+a.ID) })
	for _, n := range need.Deleted {
		for _, from := range names { // backwards: the first by name is set last
			h := t.objects[from]
			for _, r := range h.Refs {
				if (Name{r.Kind, r.ID}) == n && !slices.Contains(need.Objects, from) {
					l.SetOutside(n, Edge{from, r.Field})
				}
			}
		}
	}
	return l
}

// write carries the plan out in its order, and reports the first constraint that it hurts.
func (t *tables) write(p *Plan) error {
	next := map[Name]*Held{}
	for n, h := range t.objects {
		c := *h
		next[n] = &c
	}
	for _, n := range p.Deletes {
		if next[n] == nil {
			return fmt.Errorf("deletes %v, which is not there", n)
		}
		delete(next, n)
	}
	for _, k := range p.KeysOff {
		if err := take(&next[k.Owner].Keys, k.What); err != nil {
			return err
		}
	}
	for _, r := range p.RefsOff {
		if err := take(&next[r.Owner].Refs, r.What); err != nil {
			return err
		}
	}
	for _, o := range p.Puts {
		h := &Held{Rev: o.Held.Rev, Body: o.Held.Body, Tags: o.Held.Tags}
		if old := next[o.Name]; old != nil {
			h.Keys, h.Refs = old.Keys, old.Refs
		}
		next[o.Name] = h
	}
	for _, k := range p.KeysOn {
		for n, h := range next {
			if n.Kind == k.Owner.Kind && slices.Contains(h.Keys, k.What) {
				return fmt.Errorf("%v takes key %v of %v", k.Owner, k.What, n)
			}
		}
		next[k.Owner].Keys = append(slices.Clone(next[k.Owner].Keys), k.What)
	}
	for _, r := range p.RefsOn {
		next[r.Owner].Refs = append(slices.Clone(next[r.Owner].Refs), r.What)
	}
	for n, h := range next {
		for _, r := range h.Refs {
			if next[Name{r.Kind, r.ID}] == nil {
				return fmt.Errorf("%v refers to %v, which is not there", n, r)
			}
		}
	}
	t.objects = next
	t.rev += uint64(len(p.Revisions))
	return nil
}

func take[T comparable](from *[]T, what T) error {
	i := slices.Index(*from, what)
	if i < 0 {
		return fmt.Errorf("takes away %v, which is not there", what)
	}
	*from = slices.Delete(slices.Clone(*from), i, i+1)
	return nil
}

// state is what tables hold, without order.
func (t *tables) state() map[Name]string {
	out := map[Name]string{}
	for n, h := range t.objects {
		keys, refs := slices.Clone(h.Keys), slices.Clone(h.Refs)
		slices.SortFunc(keys, func(a, b store.Key) int { return strings.Compare(a.Value, b.Value) })
		slices.SortFunc(refs, func(a, b store.Ref) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		out[n] = fmt.Sprint(h.Rev, h.Tags, string(h.Body), keys, refs)
	}
	return out
}

func randomCommit(draw func(n int) int) store.Commit {
	var c store.Commit
	for range 1 + draw(3) {
		op := store.Op{Object: store.Object{Kind: []string{"a", "b"}[draw(2)], ID: fmt.Sprint(draw(4))}}
		if draw(3) > 0 {
			op.Body = []byte(fmt.Sprint(draw(100)))
			for range draw(3) {
				op.Keys = append(op.Keys, store.Key{Index: "name", Value: fmt.Sprint(draw(4))})
			}
			for range draw(2) {
				op.Refs = append(op.Refs, store.Ref{Field: "f", Kind: []string{"a", "b"}[draw(2)], ID: fmt.Sprint(draw(4))})
			}
		}
		if draw(8) == 0 {
			rev := uint64(draw(5))
			op.IfMatch = &rev
		}
		c.Ops = append(c.Ops, op)
	}
	if draw(6) == 0 {
		c.RequestID = fmt.Sprint(draw(3))
	}
	return c
}

// checkBatch plans the batch at once and commit by commit from the same tables, and holds
// the two to each other and the plans to the constraints.
func checkBatch(t *testing.T, start *tables, batch []store.Commit) *tables {
	t.Helper()
	whole := &tables{start.rev, maps.Clone(start.objects)}
	l := whole.ledger(Needs(batch))
	var outcomes []Outcome
	for i := range batch {
		outcomes = append(outcomes, l.Apply(&batch[i]))
	}
	if err := whole.write(l.Plan()); err != nil {
		t.Fatalf("plan of %+v hurts a constraint: %v", batch, err)
	}
	single := &tables{start.rev, maps.Clone(start.objects)}
	answered := map[string]store.Revision{}
	for i := range batch {
		l := single.ledger(Needs(batch[i : i+1]))
		if r, ok := answered[batch[i].RequestID]; ok {
			l.SetRequest(r)
		}
		o := l.Apply(&batch[i])
		if o.Written && batch[i].RequestID != "" {
			answered[batch[i].RequestID] = o.Revision
		}
		if o.Written != outcomes[i].Written || o.Revision.Rev != outcomes[i].Revision.Rev || !reflect.DeepEqual(o.Err, outcomes[i].Err) {
			t.Fatalf("commit %d of %+v: %+v in the batch, %+v alone", i, batch, outcomes[i], o)
		}
		if err := single.write(l.Plan()); err != nil {
			t.Fatalf("plan of %+v hurts a constraint: %v", batch[i], err)
		}
	}
	if got, want := whole.state(), single.state(); !maps.Equal(got, want) {
		t.Fatalf("batch %+v leaves %v, its commits one by one %v", batch, got, want)
	}
	return whole
}

func TestBatchEqualsOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		state := &tables{objects: map[Name]*Held{}}
		for range 20 {
			var batch []store.Commit
			for range 1 + r.IntN(6) {
				batch = append(batch, randomCommit(r.IntN))
			}
			state = checkBatch(t, state, batch)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("a few bytes to draw from"))
	f.Add([]byte{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		draw := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			v := int(data[0]) % n
			data = data[1:]
			return v
		}
		state := &tables{objects: map[Name]*Held{}}
		for i := 0; i < 5 && len(data) > 0; i++ {
			var batch []store.Commit
			for range 1 + draw(5) {
				batch = append(batch, randomCommit(draw))
			}
			state = checkBatch(t, state, batch)
		}
	})
}

func TestIndexed(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, n := range []int{0, 1, 1022, 1023, 1024, 1025, 5000} {
		for _, last := range []string{"a", "b"} {
			v := strings.Repeat("x", max(0, n-1)) + last
			form, cut := Indexed(v)
			if len(form) > 1024 || cut != (len(v) > 1023) || (!cut && form != v) {
				t.Errorf("Indexed of %d bytes = %d bytes, cut %v", len(v), len(form), cut)
			}
			if other, taken := seen[form]; taken && other != v {
				t.Errorf("values of %d and %d bytes have one form", len(v), len(other))
			}
			seen[form] = v
			if cut { // a value that looks like a form is cut again
				if again, _ := Indexed(form); again == form {
					t.Errorf("the form of %d bytes is its own form", len(v))
				}
			}
		}
	}
}

func TestCheckSizes(t *testing.T) {
	t.Parallel()
	op := store.Op{
		Object: store.Object{Kind: "k", ID: "i", Body: make([]byte, store.MaxObjectBytes-6), Tags: []string{"t"}},
		Keys:   []store.Key{{Index: "n", Value: "v"}}, Refs: []store.Ref{{Field: "f", Kind: "k", ID: "i"}},
	}
	if size, err := Check(&store.Commit{Ops: []store.Op{op}}); err != nil || size != store.MaxObjectBytes+opOverhead {
		t.Errorf("Check at the limit = %d, %v", size, err)
	}
	op.Tags = append(op.Tags, "u")
	var large *store.TooLargeError
	if _, err := Check(&store.Commit{Ops: []store.Op{op}}); !errors.As(err, &large) || large.Size != store.MaxObjectBytes+1 {
		t.Errorf("Check above the limit = %v, want a TooLargeError", err)
	}
	many := store.Commit{Message: strings.Repeat("m", store.MaxCommitBytes+1)}
	if _, err := Check(&many); !errors.As(err, &large) || large.Kind != "" {
		t.Errorf("Check of a large message = %v, want a TooLargeError of the commit", err)
	}
}
