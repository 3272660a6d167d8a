package plugintest

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Recorded is one request to a live Kong and its answer.
type Recorded struct {
	Name    string `json:"name"`
	Request struct {
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"request"`
	Response struct {
		Status  int                        `json:"status"`
		Headers map[string]json.RawMessage `json:"headers"`
		Text    string                     `json:"text"`
		// Echo is what the upstream got, when the request came to it.
		Echo struct {
			Headers map[string][]string `json:"headers"`
			URI     string              `json:"uri"`
			Body    string              `json:"body"`
		} `json:"json"`
	} `json:"response"`
}

// Transcript returns the recorded requests of a file ("13-proxy-auth") whose names begin with
// prefix. A test that finds none fails.
func Transcript(t testing.TB, file, prefix string) []Recorded {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(here), "..", "..", "test", "parity", "testdata", "transcripts", file+".jsonl")
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("read transcript: %v", err)
	}
	defer f.Close()
	var all []Recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var head struct{ Name string }
		if json.Unmarshal(lines.Bytes(), &head) != nil || head.Name == "" || !strings.HasPrefix(head.Name, prefix) {
			continue
		}
		var r Recorded
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil && r.Response.Status == 200 {
			t.Fatalf("parse transcript: %s: %v", head.Name, err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("read transcript: %v", err)
	}
	if len(all) == 0 {
		t.Fatalf("transcript %s has no request %q", file, prefix)
	}
	return all
}

// Header returns a header of the answer, "" if there is none.
func (r *Recorded) Header(name string) string {
	var s string
	_ = json.Unmarshal(r.Response.Headers[name], &s)
	return s
}

// AsRequest is the request as a test sends it to a filter.
func (r *Recorded) AsRequest() Request {
	q := Request{Method: r.Request.Method, Target: r.Request.Path, Body: r.Request.Body}
	for name, value := range r.Request.Headers {
		q.Lines = append(q.Lines, name+": "+value)
	}
	slices.Sort(q.Lines)
	return q
}
