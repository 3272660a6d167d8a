package engine

import (
	"slices"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

func TestServedCountsByRevision(t *testing.T) {
	t.Parallel()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	note := func(routed bool, source plugin.Source, statuses ...int) {
		for _, status := range statuses {
			e.current.Load().served.note(&plugin.Response{Status: status, Source: source}, routed)
		}
	}
	e.Swap(nothing{}, 7)
	note(true, plugin.FromUpstream, 200, 404, 500)
	note(true, plugin.FromGate, 429, 503)
	e.Swap(nothing{}, 8)
	note(false, plugin.FromGate, 404, 400)
	e.Swap(nothing{}, 7) // back, and a live change beside it
	note(true, plugin.FromUpstream, 502)
	want := []Served{{8, 2, 1, 0}, {7, 6, 1, 2}}
	if got := e.Served(); !slices.Equal(got, want) {
		t.Errorf("Served() = %v, want %v", got, want)
	}
	for rev := range uint64(100) {
		e.Swap(nothing{}, 100+rev)
	}
	if got := e.Served(); len(got) != maxServed || got[len(got)-1].Revision != 199 {
		t.Errorf("after 100 revisions Served() has %d, the last %v", len(got), got[len(got)-1])
	}
}
