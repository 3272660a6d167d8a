package plugin_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]plugin.Argument{
		"":           nil,
		"&&":         nil,
		"a=1&b=2":    {{Name: "a", Value: "1"}, {Name: "b", Value: "2"}},
		"a=1&a=&a":   {{Name: "a", Value: "1"}, {Name: "a"}, {Name: "a", Bare: true}},
		"a+b=%41%3D": {{Name: "a b", Value: "A="}},
		"a=%zz+":     {{Name: "a", Value: "%zz+"}},
		"=x":         {{Value: "x"}},
	} {
		if got := slices.Collect(plugin.Arguments(query)); !slices.Equal(got, want) {
			t.Errorf("Arguments(%q) = %v, want %v", query, got, want)
		}
	}
}

func TestAddLogText(t *testing.T) {
	t.Parallel()
	x := plugintest.Request{}.Exchange()
	x.AddLogText("a", "x\"\\\n/é")
	x.AddLogText("b", "")
	var got []string
	for _, f := range x.LogFields() {
		var s string
		if err := json.Unmarshal(f.JSON, &s); err != nil {
			t.Fatalf("%s is %s: %v", f.Name, f.JSON, err)
		}
		got = append(got, f.Name, s)
	}
	if want := []string{"a", "x\"\\\n/é", "b", ""}; !slices.Equal(got, want) {
		t.Errorf("LogFields = %q, want %q", got, want)
	}
}

// FuzzArguments holds the arguments against the standard library's where that reads them.
func FuzzArguments(f *testing.F) {
	f.Add("a=1&b=%20&c")
	f.Add("%=%&=&&+")
	f.Fuzz(func(t *testing.T, query string) {
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got := url.Values{}
		for a := range plugin.Arguments(query) {
			got[a.Name] = append(got[a.Name], a.Value)
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("Arguments(%q): %q = %q, want %q", query, name, got[name], want[name])
			}
		}
	})
}
