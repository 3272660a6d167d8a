package chaos

import (
	"slices"
	"strings"
	"testing"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

func at(generation, rev uint64, hash string) feedv1.Pos {
	return feedv1.Pos{Epoch: "e", Generation: generation, Staged: rev, Live: rev, Hash: feedv1.SetHash{uint64(hash[0])}}
}

// good is a history in which nothing is wrong: of three writes one was never answered and was
// not written.
func good() *History {
	return &History{
		Writes:    []Write{{"w1", "a", 1}, {"w2", "b", 2}, {"w3", "c", 0}},
		Revisions: []Revision{{1, "w1"}, {2, "w2"}},
		Entries:   []Entry{{4, 1}, {7, 2}},
		Entities:  map[string]uint64{"a": 1, "b": 2},
		Seen:      []Sighting{{"n", at(0, 1, "x")}, {"m", at(0, 1, "x")}, {"n", at(0, 2, "y")}, {"m", at(0, 2, "y")}},
	}
}

// TestCheckerFindsFaults feeds the checker doctored histories: what it cannot find here it would
// not find in a row either.
func TestCheckerFindsFaults(t *testing.T) {
	t.Parallel()
	if faults := good().Faults(); faults != nil {
		t.Fatalf("a good history has faults: %q", faults)
	}
	for want, doctor := range map[string]func(h *History){
		"write w2 was acknowledged as revision 2 and is none": func(h *History) {
			h.Revisions, h.Entities = h.Revisions[:1], map[string]uint64{"a": 1}
		},
		"write w1 was acknowledged as revision 7 and is 1":  func(h *History) { h.Writes[0].Rev = 7 },
		"entity b is of revision none, want 2":              func(h *History) { delete(h.Entities, "b") },
		"revision 4 follows 2":                              func(h *History) { h.Revisions = append(h.Revisions, Revision{4, "w3"}) },
		"write w2 was written 2 times":                      func(h *History) { h.Revisions = append(h.Revisions, Revision{3, "w2"}) },
		"write w3 was written 2 times":                      func(h *History) { h.Revisions = append(h.Revisions, Revision{3, "w3"}, Revision{4, "w3"}) },
		"entity c is there without a revision of write w3":  func(h *History) { h.Entities["c"] = 2 },
		"revision 2 has no entry in the audit log":          func(h *History) { h.Entries = h.Entries[:1] },
		"entry 8 of the audit log tells of revision 3":      func(h *History) { h.Entries = append(h.Entries, Entry{8, 3}) },
		"entry 5 of the audit log tells of revision 2":      func(h *History) { h.Entries = []Entry{{5, 2}, {6, 1}} },
		"node n went from e.0.2.2":                          func(h *History) { h.Seen = append(h.Seen, Sighting{"n", at(0, 1, "x")}, Sighting{"n", at(0, 2, "y")}) },
		"node m went from e.1.2.2":                          func(h *History) { h.Seen = append(h.Seen, Sighting{"m", at(1, 2, "y")}, Sighting{"m", at(0, 3, "z")}) },
		"nodes n and m enforced different sets as revision": func(h *History) { h.Seen[1].At = at(0, 1, "half") },
		"node m ends at":                                    func(h *History) { h.Seen = h.Seen[:3] },
	} {
		h := good()
		doctor(h)
		if faults := h.Faults(); !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("faults are %q, want one of %q", faults, want)
		}
	}
	rollback := good()
	for _, n := range []string{"n", "m"} {
		rollback.Seen = append(rollback.Seen, Sighting{n, at(1, 1, "x")})
	}
	if faults := rollback.Faults(); faults != nil {
		t.Errorf("a lower revision under a higher generation is a roll-back and no fault: %q", faults)
	}
}
