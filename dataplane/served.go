package dataplane

import (
	"github.com/sekifuda/sekifuda/dataplane/engine"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// tally turns what revisions served since the start into what they served since the last report.
// Only the loop that reports uses it.
type tally map[uint64]engine.Served

// since returns what is new in all, revisions that served nothing left out.
func (t *tally) since(all []engine.Served) (list []*feedv1.RevisionStats) {
	next := make(tally, len(all))
	for _, s := range all {
		before := (*t)[s.Revision]
		next[s.Revision] = s
		if s.Requests == before.Requests {
			continue
		}
		list = append(list, &feedv1.RevisionStats{
			Rev: s.Revision, Requests: s.Requests - before.Requests,
			GateErrors: s.GateErrors - before.GateErrors, UpstreamErrors: s.UpstreamErrors - before.UpstreamErrors,
		})
	}
	*t = next
	return list
}
