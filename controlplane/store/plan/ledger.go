package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Ledger is the part of the tables that a batch touches, as it stands after the commits
// applied so far. One goroutine owns it.
type Ledger struct {
	now  time.Time
	head store.Revision

	requests map[string]store.Revision
	objects  map[Name]*Held // nil: does not exist
	loaded   map[Name]*Held // objects as the tables hold them
	noted    set[Name]      // objects that entered commits touch
	order    []Name         // of noted, as they were touched
	holders  map[Key]string // id of the holder
	targets  map[Name]bool  // untouched objects that exist
	outside  map[Name]Edge  // for an object to delete: an untouched object that refers to it
	inbound  map[Name]map[Edge]struct{}

	plan Plan
}

// New starts a ledger at the given head (its number alone is enough to judge). now becomes
// the time of the revisions.
func New(head store.Revision, now time.Time) *Ledger {
	return &Ledger{
		now: now, head: head,
		requests: map[string]store.Revision{}, noted: set[Name]{},
		objects: map[Name]*Held{}, loaded: map[Name]*Held{},
		holders: map[Key]string{}, targets: map[Name]bool{},
		outside: map[Name]Edge{}, inbound: map[Name]map[Edge]struct{}{},
	}
}

// SetRequest says that a request id was answered with revision r before.
func (l *Ledger) SetRequest(r store.Revision) { l.requests[r.RequestID] = r }

// SetObject says that the object exists.
func (l *Ledger) SetObject(n Name, rev uint64, tags []string, body []byte) {
	h := &Held{Rev: rev, Tags: tags, Body: body}
	l.objects[n], l.loaded[n] = h, h
}

// AddKey says that an object set before holds the key. Call it before the first Apply.
func (l *Ledger) AddKey(n Name, k store.Key) {
	if h := l.loaded[n]; h != nil {
		h.Keys = append(h.Keys, k)
	}
	l.holders[Key{n.Kind, k.Index, k.Value}] = n.ID
}

// AddRef says that an object set before has the reference. Call it before the first Apply.
func (l *Ledger) AddRef(n Name, r store.Ref) {
	if h := l.loaded[n]; h != nil {
		h.Refs = append(h.Refs, r)
		l.link(n, r)
	}
}

// SetHolder says which object holds a key.
func (l *Ledger) SetHolder(k Key, id string) { l.holders[k] = id }

// SetTarget says that an object which the batch does not touch exists.
func (l *Ledger) SetTarget(n Name) { l.targets[n] = true }

// SetOutside says that an object which the batch does not touch refers to target.
func (l *Ledger) SetOutside(target Name, e Edge) { l.outside[target] = e }

// Apply judges c against the ledger and, if it may be, enters it.
func (l *Ledger) Apply(c *store.Commit) Outcome {
	if r, ok := l.requests[c.RequestID]; ok && c.RequestID != "" {
		return Outcome{Revision: r}
	}
	if c.IfHead != nil && *c.IfHead != l.head.Rev {
		return Outcome{Err: &store.ConflictError{Want: *c.IfHead, Have: l.head.Rev}}
	}
	t := turn{ledger: l, rev: l.head.Rev + 1, before: map[Name]*Held{}, whole: map[store.Key]string{}}
	err := t.run(c.Ops)
	if err != nil {
		t.undo()
		return Outcome{Err: err}
	}
	if c.DryRun {
		t.undo()
		return Outcome{Revision: store.Revision{Rev: t.rev, At: l.now, Changes: len(c.Ops)}}
	}
	changes := t.enter()
	if changes == 0 {
		return Outcome{Revision: l.head}
	}
	r := store.Revision{
		Rev: t.rev, At: l.now, Changes: changes, RequestID: c.RequestID,
		Actor: Text(c.Actor), Message: Text(c.Message), Client: Text(c.Client),
	}
	l.head = r
	l.plan.Revisions = append(l.plan.Revisions, r)
	if c.Note != nil {
		l.plan.Notes = append(l.plan.Notes, store.AuditEntry{At: l.now, Body: c.Note(t.rev)})
	}
	if c.RequestID != "" {
		l.requests[c.RequestID] = r
	}
	return Outcome{Revision: r, Written: true}
}

func (l *Ledger) link(from Name, r store.Ref) {
	to := Name{r.Kind, r.ID}
	if l.inbound[to] == nil {
		l.inbound[to] = map[Edge]struct{}{}
	}
	l.inbound[to][Edge{from, r.Field}] = struct{}{}
}

func (l *Ledger) unlink(from Name, r store.Ref) {
	delete(l.inbound[Name{r.Kind, r.ID}], Edge{from, r.Field})
}

func (l *Ledger) exists(n Name) bool { return l.objects[n] != nil || l.targets[n] }

// referrer finds an object that refers to n now; of several the first by name. The edges
// say who did before the commit under way, the objects who does now.
func (l *Ledger) referrer(n Name) (Edge, bool) {
	best, found := l.outside[n]
	for e := range l.inbound[n] {
		h := l.objects[e.From]
		if h == nil || !slices.Contains(h.Refs, store.Ref{Field: e.Field, Kind: n.Kind, ID: n.ID}) {
			continue
		}
		if !found || less(e, best) {
			best, found = e, true
		}
	}
	return best, found
}

func less(a, b Edge) bool {
	return slices.Compare([]string{a.From.Kind, a.From.ID, a.Field}, []string{b.From.Kind, b.From.ID, b.Field}) < 0
}

// sorted returns the distinct values in an order of their own, so that equal ops write
// equal rows in the same order (and two processes never wait for each other crosswise).
func sorted[T comparable](in []T, text func(T) string) []T {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b T) int { return strings.Compare(text(a), text(b)) })
	return slices.Compact(out)
}
