package plan

import "github.com/sekifuda/sekifuda/controlplane/store"

// note remembers that an entered commit touched n.
func (l *Ledger) note(n Name) {
	if _, seen := l.noted[n]; !seen {
		l.noted[n] = struct{}{}
		l.order = append(l.order, n)
	}
}

// Plan returns the rows that bring the tables from what was read to where the ledger
// stands. Call it once, after the last Apply.
func (l *Ledger) Plan() *Plan {
	p := &l.plan
	var none Held
	for _, n := range l.order {
		before, after := l.loaded[n], l.objects[n]
		if after == nil {
			if before != nil {
				p.Deletes = append(p.Deletes, n)
			}
			continue
		}
		if before == nil {
			before = &none
		}
		p.Puts = append(p.Puts, Put{n, after})
		p.KeysOff, p.KeysOn = moved(n, before.Keys, after.Keys, p.KeysOff, p.KeysOn)
		p.RefsOff, p.RefsOn = moved(n, before.Refs, after.Refs, p.RefsOff, p.RefsOn)
		p.TagsOff, p.TagsOn = moved(n, before.Tags, after.Tags, p.TagsOff, p.TagsOn)
	}
	return p
}

// moved appends to off what is only in before, and to on what is only in after.
func moved[T store.Key | store.Ref | string](n Name, before, after []T, off, on []Owned[T]) (_, _ []Owned[T]) {
	had, has := set[T]{}, set[T]{}
	for _, v := range before {
		had.add(v)
	}
	for _, v := range after {
		if _, stays := had[v]; has.add(v) && !stays {
			on = append(on, Owned[T]{n, v})
		}
	}
	for v := range had {
		if _, stays := has[v]; !stays {
			off = append(off, Owned[T]{n, v})
		}
	}
	return off, on
}
