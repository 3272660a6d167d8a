package telemetry

import "testing"

func TestStoresOfSharedLimits(t *testing.T) {
	t.Parallel()
	stores := []Store{{Name: `a"b`, Down: true, Keys: 3, Calls: 4, Asks: 5, Admitted: 6, Refused: 7, Outages: 8, Gates: 2}, {Name: "shared"}}
	got := scrape(t, New(Options{Stores: func() []Store { return stores }}))
	for name, want := range map[string]int64{
		"store_down": 1, "identifiers": 3, "calls_total": 4, "questions_total": 5,
		"admitted_alone_total": 6, "refused_alone_total": 7, "outages_total": 8, "gates": 2,
	} {
		name = "sekifuda_limits_" + name
		if n, ok := got[name+`{store="a\"b"}`]; !ok || n != want {
			t.Errorf("%s = %d, %v, want %d", name, n, ok, want)
		}
		if n, ok := got[name+`{store="shared"}`]; !ok || n != 0 {
			t.Errorf("%s of the other = %d, %v, want 0", name, n, ok)
		}
	}
	stores = nil
	if _, ok := scrape(t, New(Options{Stores: func() []Store { return stores }}))[`sekifuda_limits_store_down{store="shared"}`]; ok {
		t.Error("a store is exported that is not there")
	}
}
