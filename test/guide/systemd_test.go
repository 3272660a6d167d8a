package guide

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

var (
	execStart = regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/seki (.*)$`)
	flagWord  = regexp.MustCompile(`--[a-z-]+`)
	setting   = regexp.MustCompile(`SEKI_[A-Z_]+`)
)

// TestSystemdUnits holds the units to what the binary takes.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(stack.Root(), "deploy/systemd")
	units, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil || len(units) != 3 {
		t.Fatalf("units are %v, %v", units, err)
	}
	known := ""
	for _, unit := range units {
		raw, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		m := execStart.FindStringSubmatch(string(raw))
		if m == nil {
			t.Fatalf("%s starts nothing of ours", unit)
		}
		verb, _, _ := strings.Cut(m[1], " ")
		help, _ := stack.Shell(t, nil, stack.Binary(t)+" "+verb+" --help")
		known += help
		for _, flag := range flagWord.FindAllString(m[1], -1) {
			if !strings.Contains(help, flag+" ") {
				t.Errorf("%s: seki %s has no flag %s", filepath.Base(unit), verb, flag)
			}
		}
		for _, line := range []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always", "User=sekifuda"} {
			if !strings.Contains(string(raw), line+"\n") {
				t.Errorf("%s does not say %s", filepath.Base(unit), line)
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range setting.FindAllString(string(page), -1) {
		if !strings.Contains(known, name+")") {
			t.Errorf("the page names %s, which no unit's verb reads", name)
		}
	}
}
