// Package parity replays what was recorded from a real Kong 3.9.1 against the built gateway.
// What may differ stands in differences.yaml, with the reason; anything else is a failure,
// and so is an entry there that no longer differs.
package parity

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) {
	stack.Main(m, func() { fmt.Printf("parity: %d passed, %d failed\n", passed, failed) })
}

// What all replays of this run said; the tests run one after the other.
var passed, failed int

// difference is one entry of differences.yaml: cases whose "group / name" it matches may
// fail.
type difference struct {
	Cases   string `yaml:"cases"`
	Reason  string `yaml:"reason"`
	Pending bool   `yaml:"pending"` // to be built, not a difference to keep
	// Sometimes marks what differs in some runs only: chance, not the gateway.
	Sometimes bool `yaml:"sometimes"`

	re   *regexp.Regexp
	used int
}

func differences(t *testing.T) []*difference {
	t.Helper()
	raw, err := os.ReadFile("differences.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list []*difference
	if err := yaml.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Cases == "" {
			continue
		}
		if d.re, err = regexp.Compile("^(?:" + d.Cases + ")$"); err != nil {
			t.Fatalf("differences.yaml: %v", err)
		}
		if d.Reason == "" {
			t.Fatalf("differences.yaml: %s has no reason", d.Cases)
		}
	}
	return list
}

// result is what a replay writes.
type result struct {
	Passed   int
	Failed   int
	Failures []struct {
		Group, Name string
		Diff        []string
	}
}

// gateway starts `seki run` for a replay.
func gateway(t *testing.T, redis string) *stack.Process {
	t.Helper()
	return stack.Start(t, "run", "--data-dir", t.TempDir(), "--redis-url", redis,
		"--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--console-listen", "off", "--grpc-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0")
}

// recordedRedis is where the recorded configurations expect Redis.
const recordedRedis = "127.0.0.1:56379"

// TestTranscripts replays the recorded requests, group by group.
func TestTranscripts(t *testing.T) {
	redis := services.NewRedis(t).URL
	forward(t, recordedRedis, redis)
	p := gateway(t, redis)
	p.WaitReady()
	out := filepath.Join(t.TempDir(), "result.json")
	cmd := exec.Command("python3", "testdata/transcripts/replay.py", p.URLs["admin"], p.URLs["proxy"],
		"-f", "testdata/transcripts", "--skip-defects", "--json", out)
	text, runErr := cmd.CombinedOutput()
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("replay: %v\n%s", runErr, text)
	}
	var r result
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	judge(t, &r)
}

var deckResult = regexp.MustCompile(`(?m)^(\d+) of (\d+) answers as Kong$`)

// TestDeck replays 63 sessions of decK. Every answer must be Kong's.
func TestDeck(t *testing.T) {
	p := gateway(t, services.NewRedis(t).URL)
	p.WaitReady()
	text, err := exec.Command("python3", "testdata/deck-sessions/replay.py", p.URLs["admin"]).CombinedOutput()
	m := deckResult.FindSubmatch(text)
	if m == nil {
		t.Fatalf("replay: %v\n%s", err, text)
	}
	good, _ := strconv.Atoi(string(m[1])) // digits, by the expression
	all, _ := strconv.Atoi(string(m[2]))
	const recorded = 2872
	if err != nil || all != recorded || good != all {
		t.Errorf("%d of %d answers as Kong, want %d: %v\n%s", good, all, recorded, err, text)
	}
	passed, failed = passed+good, failed+all-good
	fmt.Printf("decK: %d passed, %d failed\n", good, all-good)
}

// judge holds a replay's failures to the table.
func judge(t *testing.T, r *result) {
	t.Helper()
	table := differences(t)
	kept, pending := 0, 0
	for _, f := range r.Failures {
		name := f.Group + " / " + f.Name
		d := find(table, name)
		if d == nil {
			t.Errorf("%s:\n\t%v", name, f.Diff)
			continue
		}
		d.used++
		if d.Pending {
			pending++
		} else {
			kept++
		}
	}
	for _, d := range table {
		if d.re != nil && d.used == 0 && !d.Sometimes {
			t.Errorf("differences.yaml: %s no longer differs: take it out", d.Cases)
		}
	}
	unlisted := r.Failed - kept - pending
	passed, failed = passed+r.Passed, failed+unlisted
	fmt.Printf("transcripts: %d passed, %d failed (and %d listed differences, %d not built yet)\n", r.Passed, unlisted, kept, pending)
}

func find(table []*difference, name string) *difference {
	for _, d := range table {
		if d.re != nil && d.re.MatchString(name) {
			return d
		}
	}
	return nil
}

// forward makes a Redis that listens elsewhere answer at addr.
func forward(t *testing.T, addr, redisURL string) {
	t.Helper()
	u, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host == addr {
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the recorded configurations name Redis at %s: %v", addr, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(c, u.Host)
		}
	}()
}
