package fleet

import feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"

// maxTallies bounds the groups and revisions of which is kept what was served and nobody asked.
const maxTallies = 1024

// Served is what nodes served.
type Served struct{ Requests, Errors uint64 }

// under is the nodes of a group that run a revision.
type under struct {
	group string
	rev   uint64
}

// tally adds a report to what was served. It is called with the lock held.
func (f *Fleet) tally(group string, stats []*feedv1.RevisionStats) {
	for _, s := range stats {
		key := under{group, s.GetRev()}
		sum, known := f.served[key]
		if !known && len(f.served) >= maxTallies {
			clear(f.served)
		}
		sum.Requests += s.GetRequests()
		sum.Errors += s.GetGateErrors() + s.GetUpstreamErrors()
		f.served[key] = sum
	}
}

// Served takes what the nodes of a group that report here served under a revision since it was
// asked last.
func (f *Fleet) Served(group string, rev uint64) Served {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := under{group, rev}
	sum := f.served[key]
	delete(f.served, key)
	return sum
}
