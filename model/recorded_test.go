package model_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model/schema"
)

// recorded is one body that was sent to a real gateway, and its answer.
type recorded struct {
	Entity   string
	Validate bool
	Input    json.RawMessage
	Status   int
	Body     map[string]any
}

// TestRecorded replays what a real gateway was sent. Texts of OpenSSL after "invalid
// certificate:" and "invalid key:" are its own and not compared.
func TestRecorded(t *testing.T) {
	t.Parallel()
	file := readVectors[struct{ Vectors []recorded }](t, "recorded.json")
	notExpected := 0
	for i, v := range file.Vectors {
		if absent(vector{Entity: v.Entity, Input: v.Input}) {
			notExpected++
			continue
		}
		t.Run(fmt.Sprintf("%03d-%s", i, v.Entity), func(t *testing.T) {
			t.Parallel()
			status, got := replay(t, v)
			want := v.Body
			if v.Validate && v.Status == 200 {
				want = nil
			}
			if status != v.Status && !(status == 200 && v.Status == 201) || !alike(got, want) {
				t.Errorf("%s\n got %d %s\nwant %d %s", v.Input, status, jsonText(got), v.Status, jsonText(want))
			}
		})
	}
	if len(file.Vectors) != 386 || notExpected != 0 {
		t.Errorf("%d recorded bodies, %d of plugins that are not here; want 386 and 0", len(file.Vectors), notExpected)
	}
}

func replay(t *testing.T, v recorded) (int, any) {
	t.Helper()
	table := all.Table(v.Entity)
	body := decode(t, v.Input)
	if v.Validate {
		if err := table.Validate(body, insertTime); err != nil {
			return 400, faultBody(t, err)
		}
		return 200, map[string]any(nil)
	}
	m, err := table.Insert(body, insertTime)
	if err != nil {
		return 400, faultBody(t, err)
	}
	return 200, map[string]any(asJSON(t, table.Render(stored(t, table, m), insertTime)))
}

// alike compares two JSON values but for what differs from run to run.
func alike(got, want any) bool {
	switch want := want.(type) {
	case string:
		s, ok := got.(string)
		switch {
		case want == "<any>" || want == "<uuid>" && ok:
			return true
		case want == "<ts>" || want == "<int>":
			_, ok := got.(float64)
			return ok
		}
		return ok && (s == want || opensslAlike(s, want))
	case map[string]any:
		g, ok := got.(schema.Body)
		if !ok || len(g) != len(want) {
			return false
		}
		for k, w := range want {
			_, isTime := w.(float64)
			if isTime && (k == "created_at" || k == "updated_at") {
				continue
			}
			if v, there := g[k]; !there || !alike(v, w) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return false
		}
		for i := range want {
			if !alike(g[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

// opensslAlike compares texts up to where OpenSSL speaks.
func opensslAlike(got, want string) bool {
	for _, prefix := range []string{"invalid certificate: ", "invalid key: "} {
		if i := strings.Index(want, prefix); i >= 0 {
			return strings.HasPrefix(got, want[:i+len(prefix)])
		}
	}
	return false
}
