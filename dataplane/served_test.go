package dataplane

import (
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/engine"
)

func TestTallyTellsEachRequestOnce(t *testing.T) {
	t.Parallel()
	var ta tally
	told := map[uint64][3]uint64{}
	for _, all := range [][]engine.Served{
		{{Revision: 7, Requests: 10, GateErrors: 1}},
		{{Revision: 7, Requests: 10, GateErrors: 1}},
		{{Revision: 7, Requests: 15, GateErrors: 1, UpstreamErrors: 2}, {Revision: 8, Requests: 3}},
		{{Revision: 8, Requests: 4, UpstreamErrors: 1}},
	} {
		for _, s := range ta.since(all) {
			if s.GetRequests() == 0 {
				t.Errorf("revision %d is told of without requests", s.GetRev())
			}
			sum := told[s.GetRev()]
			told[s.GetRev()] = [3]uint64{sum[0] + s.GetRequests(), sum[1] + s.GetGateErrors(), sum[2] + s.GetUpstreamErrors()}
		}
	}
	if want := map[uint64][3]uint64{7: {15, 1, 2}, 8: {4, 0, 1}}; told[7] != want[7] || told[8] != want[8] {
		t.Errorf("told %v, want %v", told, want)
	}
}
