package router

import (
	"slices"
	"strconv"
	"testing"
)

func TestPriorityAsExecuted(t *testing.T) {
	t.Parallel()
	var file struct {
		Vectors []struct {
			Name     string    `json:"name"`
			Executed string    `json:"priority_executed"`
			Route    jsonRoute `json:"route"`
		} `json:"vectors"`
	}
	load(t, "priorities.json", &file)
	var http, stream int
	for _, v := range file.Vectors {
		r := v.Route.route()
		if !answersHTTP(r.Protocols) {
			stream++ // these have sources and destinations, and no place in this router
			continue
		}
		http++
		if got := strconv.FormatUint(priority(r, r.Paths), 10); got != v.Executed {
			t.Errorf("priority(%s) = %s, want %s", v.Name, got, v.Executed)
		}
		if err := Check(r); err != nil {
			t.Errorf("Check(%s) = %v", v.Name, err)
		}
	}
	if http != 22 || stream != 3 {
		t.Errorf("%d HTTP and %d stream vectors, want 22 and 3", http, stream)
	}
}

func TestPriorityQuirks(t *testing.T) {
	t.Parallel()
	regex := func(n int64) uint64 {
		return priority(&Route{Paths: []string{"~/a"}, RegexPriority: n}, []string{"~/a"})
	}
	for _, n := range []int64{-1, 4096, 4097} {
		if regex(n) < 1<<63 {
			t.Errorf("regex_priority %d = %#x, want the top bit set", n, regex(n))
		}
	}
	if regex(8192) != regex(0) {
		t.Errorf("regex_priority 8192 = %#x, want that of 0, %#x", regex(8192), regex(0))
	}
}

func TestSplitIDs(t *testing.T) {
	t.Parallel()
	// Made with another implementation of version 5 UUIDs.
	got := split(&Route{ID: "11111111-1111-4111-8111-000000001001", Paths: []string{"/ab", "~/x", "/cd", "/abc", "~/y"}})
	want := []subroute{
		{"84fab1d9-75ce-5862-895f-85e1cc0da56a", []string{"/ab", "/cd"}},
		{"75add33c-56d2-51ff-a932-d561f2b5e0fb", []string{"~/x", "~/y"}},
		{"6bf684fe-35c6-55d2-9f81-6e740f3f3893", []string{"/abc"}},
	}
	if len(got) != len(want) {
		t.Fatalf("split = %v, want %v", got, want)
	}
	for i := range want {
		if got[i].rank != want[i].rank || !slices.Equal(got[i].paths, want[i].paths) {
			t.Errorf("split[%d] = %v, want %v", i, got[i], want[i])
		}
	}
}
