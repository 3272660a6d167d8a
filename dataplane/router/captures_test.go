package router

import (
	"slices"
	"testing"
)

func TestGroupsThatTookNoPart(t *testing.T) {
	t.Parallel()
	r := mustApply(t, nil, Change[string]{"r", &Route{ID: "r", Paths: []string{`~/api/(?<a>v1)?(?<b>x*)(/(?<c>.*))?$`}}, "r"})
	for path, want := range map[string]struct {
		values  []string
		missing uint64
	}{
		"/api/v1/z": {[]string{"v1", "", "/z", "z"}, 0},
		"/api/x":    {[]string{"", "x", "", ""}, 1<<0 | 1<<2 | 1<<3},
	} {
		m := Match[string]{CaptureMissing: 1 << 9} // of an earlier request
		if !r.Match(&Request{Method: "GET", Host: "h", Path: path}, &m) {
			t.Errorf("Match(%q) = false", path)
		}
		if !slices.Equal(m.CaptureValues, want.values) || m.CaptureMissing != want.missing {
			t.Errorf("Match(%q): groups %q without %b, want %q without %b", path, m.CaptureValues, m.CaptureMissing, want.values, want.missing)
		}
	}
}
