// Package chaos breaks a real installation in every way of the failure matrix: processes killed
// and stopped, a PostgreSQL that crashes or goes back in time, networks that say nothing, disks
// that are full or lie. What must hold is checked against a history of everything that was
// written and seen.
//
// make chaos runs every row and prints how many held; go test runs those that are quick. Poison,
// which the desk refuses before any process could take it, is contained in
// test/e2e/feed/poison_test.go; a disk that tears writes is in dataplane/feed/disk_test.go.
// Enter at History.
package chaos

import (
	"fmt"
	"maps"
	"slices"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Write is a commit that was asked for: one entity of its own, under a request id of its own.
type Write struct {
	Request string
	ID      string
	// Rev is the revision that was answered; 0: there was no answer.
	Rev uint64
}

// Revision is what the database has of a commit.
type Revision struct {
	Rev     uint64
	Request string
}

// Entry is what the audit log has of a commit.
type Entry struct {
	Seq, Rev uint64
}

// Sighting is a node that enforces a position.
type Sighting struct {
	Node string
	At   feedv1.Pos
}

// History is what clients asked for and were told, what the database has in the end, and what
// nodes enforced in the order in which each did.
type History struct {
	Writes    []Write
	Revisions []Revision        // ascending
	Entries   []Entry           // of revisions, ascending by number
	Entities  map[string]uint64 // id to revision
	Seen      []Sighting
}

// Faults names everything in the history that must never happen.
func (h *History) Faults() []string {
	return slices.Concat(h.order(), h.Lost(), h.doubled(), h.unnoted(), h.backwards(), h.halves(), h.apart())
}

// Lost names the writes that were answered and are not there as they were answered.
func (h *History) Lost() (faults []string) {
	at := map[string]uint64{}
	for _, r := range h.Revisions {
		at[r.Request] = r.Rev
	}
	for _, w := range h.Writes {
		switch {
		case w.Rev == 0:
		case at[w.Request] != w.Rev:
			faults = append(faults, fmt.Sprintf("write %s was acknowledged as revision %d and is %s", w.Request, w.Rev, number(at[w.Request])))
		case h.Entities[w.ID] != w.Rev:
			faults = append(faults, fmt.Sprintf("write %s: entity %s is of revision %s, want %d", w.Request, w.ID, number(h.Entities[w.ID]), w.Rev))
		}
	}
	return faults
}

func number(rev uint64) string {
	if rev == 0 {
		return "none"
	}
	return fmt.Sprint(rev)
}

// order finds gaps between revisions.
func (h *History) order() (faults []string) {
	for i, r := range h.Revisions {
		if r.Rev != uint64(i)+1 {
			return []string{fmt.Sprintf("revision %d follows %d", r.Rev, i)}
		}
	}
	return nil
}

// doubled finds commits that were written more than once, or halfway.
func (h *History) doubled() (faults []string) {
	times := map[string]int{}
	for _, r := range h.Revisions {
		times[r.Request]++
	}
	for _, w := range h.Writes {
		if n := times[w.Request]; n > 1 {
			faults = append(faults, fmt.Sprintf("write %s was written %d times", w.Request, n))
		}
		if _, there := h.Entities[w.ID]; there && times[w.Request] == 0 {
			faults = append(faults, fmt.Sprintf("entity %s is there without a revision of write %s", w.ID, w.Request))
		}
	}
	return faults
}

// unnoted finds revisions and entries of the audit log of which one is there without the other.
func (h *History) unnoted() (faults []string) {
	for i := range max(len(h.Entries), len(h.Revisions)) {
		switch {
		case i >= len(h.Entries):
			return []string{fmt.Sprintf("revision %d has no entry in the audit log", h.Revisions[i].Rev)}
		case i >= len(h.Revisions) || h.Entries[i].Rev != h.Revisions[i].Rev:
			return []string{fmt.Sprintf("entry %d of the audit log tells of revision %d, which is not there in its place", h.Entries[i].Seq, h.Entries[i].Rev)}
		}
	}
	return nil
}

// backwards finds nodes that went to a lower revision under the same generation.
func (h *History) backwards() (faults []string) {
	last := map[string]feedv1.Pos{}
	for _, s := range h.Seen {
		was, now := last[s.Node], s.At
		if was.Epoch == now.Epoch && was.Generation == now.Generation && (now.Staged < was.Staged || now.Live < was.Live) ||
			was.Epoch == now.Epoch && now.Generation < was.Generation {
			faults = append(faults, fmt.Sprintf("node %s went from %v back to %v", s.Node, was, now))
		}
		last[s.Node] = now
	}
	return faults
}

// halves finds nodes that enforced different sets as one revision.
func (h *History) halves() (faults []string) {
	type revision struct {
		epoch        string
		staged, live uint64
	}
	first := map[revision]Sighting{}
	for _, s := range h.Seen {
		r := revision{s.At.Epoch, s.At.Staged, s.At.Live}
		if known, ok := first[r]; !ok {
			first[r] = s
		} else if known.At.Hash != s.At.Hash {
			faults = append(faults, fmt.Sprintf("nodes %s and %s enforced different sets as revision %d: %v and %v", known.Node, s.Node, r.staged, known.At.Hash, s.At.Hash))
		}
	}
	return faults
}

// apart finds nodes that did not end where the others did.
func (h *History) apart() []string {
	last := map[string]feedv1.Pos{}
	for _, s := range h.Seen {
		last[s.Node] = s.At
	}
	for _, node := range slices.Sorted(maps.Keys(last)) {
		for _, other := range slices.Sorted(maps.Keys(last)) {
			if last[node] != last[other] {
				return []string{fmt.Sprintf("node %s ends at %v and %s at %v", node, last[node], other, last[other])}
			}
		}
	}
	return nil
}
