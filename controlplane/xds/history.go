package xds

import (
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
)

// history is the revisions that nodes may stand at or be sent to. Snapshots share what did
// not change, so a revision costs what changed in it, and the difference between any two is
// read off them: there is no log beside them that could disagree.
type history struct {
	limits *Limits
	recent []*snapshot.Snapshot // ascending, the last one is head
	bytes  int                  // what recent holds beyond its first
	wanted []uint64             // revisions to keep beyond the bounds
	kept   map[uint64]*snapshot.Snapshot
	former []uint64 // kept, no longer wanted, oldest first: nodes are on their way from there
}

// maxFormer is how many releases in a row nodes may still be coming from.
const maxFormer = 16

func (h *history) head() *snapshot.Snapshot {
	if len(h.recent) == 0 {
		return nil
	}
	return h.recent[len(h.recent)-1]
}

func (h *history) follows(s *snapshot.Snapshot) bool {
	head := h.head()
	return head != nil && head.Epoch() == s.Epoch() && head.Rev() < s.Rev()
}

func (h *history) reset(s *snapshot.Snapshot) {
	h.recent, h.bytes, h.kept, h.former = []*snapshot.Snapshot{s}, 0, nil, nil
}

func (h *history) push(s *snapshot.Snapshot) {
	h.recent = append(h.recent, s)
	h.bytes += s.Added()
	for len(h.recent) > 1 && (len(h.recent) > h.limits.Revisions || h.bytes > h.limits.Bytes) {
		oldest := h.recent[0]
		h.recent[0] = nil // or the array behind recent would hold it
		h.recent = h.recent[1:]
		h.bytes -= h.recent[0].Added()
		if h.wants(oldest.Rev()) {
			h.retain(oldest)
		}
	}
}

func (h *history) retain(s *snapshot.Snapshot) {
	if h.kept == nil {
		h.kept = make(map[uint64]*snapshot.Snapshot)
	}
	h.kept[s.Rev()] = s
}

// keep replaces the revisions to keep; what is gone already does not come back.
func (h *history) keep(revs []uint64) {
	for _, rev := range h.wanted {
		if !slices.Contains(revs, rev) {
			h.former = append(h.former, rev)
		}
	}
	h.wanted = slices.Clone(revs)
	h.former = slices.DeleteFunc(h.former, func(rev uint64) bool { return slices.Contains(revs, rev) })
	h.former = h.former[max(0, len(h.former)-maxFormer):]
	for rev := range h.kept {
		if !h.wants(rev) {
			delete(h.kept, rev)
		}
	}
}

func (h *history) wants(rev uint64) bool {
	return slices.Contains(h.wanted, rev) || slices.Contains(h.former, rev)
}

func (h *history) at(rev uint64) *snapshot.Snapshot {
	i, ok := slices.BinarySearchFunc(h.recent, rev, func(s *snapshot.Snapshot, rev uint64) int {
		switch {
		case s.Rev() < rev:
			return -1
		case s.Rev() > rev:
			return 1
		}
		return 0
	})
	if ok {
		return h.recent[i]
	}
	return h.kept[rev]
}

// view returns what a node at two revisions sees, or false when one is not known.
func (h *history) view(staged, live uint64) (snapshot.View, bool) {
	v := snapshot.View{Staged: h.at(staged), Live: h.at(live)}
	return v, v.Staged != nil && v.Live != nil
}
