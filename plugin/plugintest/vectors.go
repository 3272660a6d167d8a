package plugintest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Vector is one recorded result of Kong's own plugin code.
type Vector struct {
	Kind   string          `json:"kind"`
	Name   string          `json:"name"`
	Input  json.RawMessage `json:"input"`
	Result json.RawMessage `json:"result"`
}

// Vectors returns the recorded vectors of a kind. A test that finds none fails.
func Vectors(t *testing.T, kind string) []Vector {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(here), "..", "..", "test", "parity", "testdata", "vectors", "runtime.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	var file struct {
		Vectors []Vector `json:"vectors"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("parse vectors: %v", err)
	}
	var all []Vector
	for _, v := range file.Vectors {
		if v.Kind == kind {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatalf("there is no vector of kind %q", kind)
	}
	return all
}

// Decode reads a part of a vector.
func Decode(t *testing.T, raw json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("decode vector: %v", err)
	}
}
