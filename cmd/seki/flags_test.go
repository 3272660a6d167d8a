package main

import (
	"io"
	"slices"
	"testing"
)

func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, others []string
		output       string
	}{
		{[]string{"services", "a"}, []string{"services", "a"}, "table"},
		{[]string{"--output", "json", "services", "a"}, []string{"services", "a"}, "json"},
		{[]string{"services", "--output=json", "a"}, []string{"services", "a"}, "json"},
		{[]string{"services", "a", "-output", "json"}, []string{"services", "a"}, "json"},
		{[]string{"services", "--", "-output", "--"}, []string{"services", "-output", "--"}, "table"},
		{nil, nil, "table"},
	} {
		c := &call{name: "get", args: tt.args, err: io.Discard, getenv: func(string) string { return "" }}
		f := c.flags("")
		output := f.String("output", "table", "")
		if err := f.parse(); err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if *output != tt.output || !slices.Equal(f.Args(), tt.others) {
			t.Errorf("%q: output %q, others %q", tt.args, *output, f.Args())
		}
	}
	c := &call{name: "get", args: []string{"services", "--colour"}, err: io.Discard, getenv: func(string) string { return "" }}
	if err := c.flags("").parse(); err != errUsage {
		t.Errorf("an unknown flag: %v, want %v", err, errUsage)
	}
}
