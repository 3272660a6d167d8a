package guide

import (
	"os"
	"os/exec"
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

// maxExposure is how open a unit may be by systemd's own measure, which goes to 10.
const maxExposure = "3.0"

// verifyUnits has systemd read the units as it would, and judge how open they are.
func verifyUnits(t *testing.T, units []string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("not run: systemd-analyze is not here")
		return
	}
	dir := t.TempDir()
	for _, unit := range units {
		raw, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), "/usr/local/bin/seki", stack.Binary(t)) // verify looks for it
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(unit)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := stack.Shell(t, nil, "systemd-analyze verify "+dir+"/*.service"); code != 0 || out != "" {
		t.Errorf("systemd-analyze verify: exit %d %s", code, out)
	}
	for _, unit := range units {
		name := filepath.Base(unit)
		out, code := stack.Shell(t, nil, "systemd-analyze security --offline=true --threshold="+strings.Replace(maxExposure, ".", "", 1)+" "+dir+"/"+name)
		if strings.Contains(out, "unrecognized option") {
			t.Log("not run: systemd-analyze security knows no --offline here")
		} else if code != 0 {
			t.Errorf("%s is more open than %s: %s", name, maxExposure, out[max(0, len(out)-200):])
		}
	}
}

// TestSystemdUnits holds the units to what the binary takes.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(stack.Root(), "deploy/systemd")
	units, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil || len(units) != 4 {
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
	verifyUnits(t, units)
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
