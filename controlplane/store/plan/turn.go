package plan

import (
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// turn is one commit on its way into the ledger.
type turn struct {
	ledger *Ledger
	rev    uint64
	before map[Name]*Held
	order  []Name               // of before, as the ops touch them
	whole  map[store.Key]string // values of keys that were cut, for the user's eyes
}

// run applies the ops to the ledger's objects and then judges the state they leave.
func (t *turn) run(ops []store.Op) error {
	for i := range ops {
		if err := t.op(&ops[i]); err != nil {
			return err
		}
	}
	claimed := map[Key]string{}
	for _, n := range t.order {
		if err := t.judge(n, claimed); err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) op(op *store.Op) error {
	l, n := t.ledger, Name{op.Kind, op.ID}
	have := l.objects[n]
	if op.IfMatch != nil {
		var rev uint64
		if have != nil {
			rev = have.Rev
		}
		if rev != *op.IfMatch {
			return &store.ConflictError{Kind: op.Kind, ID: op.ID, Want: *op.IfMatch, Have: rev}
		}
	}
	if _, touched := t.before[n]; !touched {
		t.before[n] = have
		t.order = append(t.order, n)
	}
	if op.Delete() {
		l.objects[n] = nil
		return nil
	}
	l.objects[n] = &Held{
		Rev: t.rev, Body: op.Body, Tags: slices.Clone(op.Tags),
		Keys: sorted(indexed(op.Keys, t.whole), func(k store.Key) string { return k.Index + "\x00" + k.Value }),
		Refs: sorted(op.Refs, func(r store.Ref) string { return r.Field + "\x00" + r.Kind + "\x00" + r.ID }),
	}
	return nil
}

// judge checks the references and keys of one touched object as the commit leaves it.
// claimed collects the keys that the commit's objects hold.
func (t *turn) judge(n Name, claimed map[Key]string) error {
	l, after := t.ledger, t.ledger.objects[n]
	if after == nil {
		if t.before[n] == nil {
			return nil
		}
		if e, found := l.referrer(n); found {
			return &store.ReferencedError{Kind: n.Kind, ID: n.ID, ByKind: e.From.Kind, ByID: e.From.ID, Field: e.Field}
		}
		return nil
	}
	for _, r := range after.Refs {
		if !l.exists(Name{r.Kind, r.ID}) {
			return &store.ReferenceError{Kind: n.Kind, ID: n.ID, Ref: r}
		}
	}
	for _, k := range after.Keys {
		key := Key{n.Kind, k.Index, k.Value}
		holder, taken := claimed[key]
		if !taken {
			holder, taken = t.standing(key)
		}
		if taken && holder != n.ID {
			if v, cut := t.whole[k]; cut {
				k.Value = v
			}
			return &store.UniqueError{Kind: n.Kind, ID: n.ID, Key: k, Holder: holder}
		}
		claimed[key] = n.ID
	}
	return nil
}

// standing tells who held the key before the commit and does not give it up in it.
func (t *turn) standing(key Key) (holder string, taken bool) {
	l := t.ledger
	holder, taken = l.holders[key]
	if !taken {
		return "", false
	}
	n := Name{key.Kind, holder}
	if _, touched := t.before[n]; !touched {
		return holder, true
	}
	after := l.objects[n]
	if after == nil || !slices.Contains(after.Keys, store.Key{Index: key.Index, Value: key.Value}) {
		return "", false
	}
	return holder, true
}

// undo takes the commit out again.
func (t *turn) undo() {
	for n, h := range t.before {
		if h == nil {
			delete(t.ledger.objects, n)
			continue
		}
		t.ledger.objects[n] = h
	}
}

// enter moves keys and references to their new owners and notes the change rows. It
// returns how many there are.
func (t *turn) enter() int {
	l := t.ledger
	for _, n := range t.order {
		if h := t.before[n]; h != nil {
			for _, k := range h.Keys {
				delete(l.holders, Key{n.Kind, k.Index, k.Value})
			}
			for _, r := range h.Refs {
				l.unlink(n, r)
			}
		}
	}
	seq := 0
	for _, n := range t.order {
		before, after := t.before[n], l.objects[n]
		if after != nil {
			for _, k := range after.Keys {
				l.holders[Key{n.Kind, k.Index, k.Value}] = n.ID
			}
			for _, r := range after.Refs {
				l.link(n, r)
			}
		}
		if before == nil && after == nil {
			delete(l.objects, n)
			continue
		}
		l.note(n)
		c := Change{Change: store.Change{Rev: t.rev, Seq: seq, Kind: n.Kind, ID: n.ID}}
		if before != nil {
			c.Before, c.BeforeRev, c.BeforeTags = before.Body, before.Rev, before.Tags
		}
		if after != nil {
			c.After = after.Body
		}
		l.plan.Changes = append(l.plan.Changes, c)
		seq++
	}
	return seq
}
