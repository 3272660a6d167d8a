package all

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListIsComplete fails when a folder with a config.proto is not in the generated list.
func TestListIsComplete(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("all.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	configs, err := filepath.Glob("../*/config.proto")
	if err != nil || len(configs) == 0 {
		t.Fatalf("Glob = %d, %v", len(configs), err)
	}
	for _, c := range configs {
		name := filepath.Base(filepath.Dir(c))
		if !strings.Contains(string(list), "\t"+name+".Definition,\n") {
			t.Errorf("%s is missing: run go generate ./plugin/all", name)
		}
	}
	if got := len(Definitions()); got != len(configs) {
		t.Errorf("%d definitions, want %d", got, len(configs))
	}
}

// TestEveryPluginIsDocumented holds the folders to what a reader looks for.
func TestEveryPluginIsDocumented(t *testing.T) {
	t.Parallel()
	configs, err := filepath.Glob("../*/config.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		path := filepath.Join(filepath.Dir(c), "README.md")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		at := -1
		for _, h := range []string{"# ", "\n## Description\n", "\n## Config\n", "\n## Example\n", "\n## Metrics\n"} {
			i := strings.Index(string(text), h)
			if i <= at {
				t.Errorf("%s: %q is missing or out of order", path, strings.TrimSpace(h))
			}
			at = i
		}
	}
}
