package lease

// Mutants of tests: mistakes that properties must find.
const (
	DeltaClaims    = deltaClaims
	DropLateGrants = dropLateGrants
)

// Mutate makes an authority's mistake.
func (a *Authority) Mutate(m mutant) { a.mutant = m }

// Mutate makes a node's mistake.
func (n *Node) Mutate(m mutant) { n.mutant = m }

// TakeThenUndo is Take with the mistake of subtracting first and putting back what was not
// there; between runs in the middle.
func (b *Bucket) TakeThenUndo(now int64, between func()) bool {
	if now >= b.end.Load() {
		return false
	}
	if b.tok.Add(-1) >= 0 {
		return true
	}
	between()
	b.tok.Add(1)
	return false
}

// LeaseWithoutReserve is Lease with the mistake of granting the whole burst ahead.
func (t *Theoretical) LeaseWithoutReserve(now int64, p *Pace, wanted, target int64) (grant, wait int64) {
	return t.lease(now, p, wanted, target, false)
}
