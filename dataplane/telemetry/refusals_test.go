package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

func refused(i int) *plugin.Exchange {
	x := &plugin.Exchange{ID: fmt.Sprintf("%032x", i), Reason: "over-minute", Decided: plugin.Decided{Plugin: "rate-limiting", ID: "p"}}
	x.Times.Start = time.Unix(int64(1000+i), 0)
	x.Response.Status, x.Revision = 429, 7
	x.Client = netip.MustParseAddr("::ffff:192.0.2.1")
	x.Request.Method, x.Request.Host, x.Request.Path = "GET", "gw.test", "/"+strings.Repeat("p", i%300)
	x.Route = &plugin.Route{ID: "r", Name: "ai"}
	return x
}

func TestRefusalsAreFoundUntilForgotten(t *testing.T) {
	t.Parallel()
	r := NewRefusals()
	for i := range maxRefusals + 10 {
		r.Note(refused(i))
	}
	if f, ok := r.Find(fmt.Sprintf("%032x", 9)); ok {
		t.Errorf("the oldest is still there: %+v", f)
	}
	got, ok := r.Find(fmt.Sprintf("%032x", 12))
	want := Refusal{
		RequestID: fmt.Sprintf("%032x", 12), At: time.Unix(1012, 0).UTC(), Status: 429, Reason: "over-minute", Plugin: "rate-limiting", PluginID: "p",
		Route: "ai", Client: "192.0.2.1", Method: "GET", Host: "gw.test", Path: "/" + strings.Repeat("p", 12), Revision: 7,
	}
	if !ok || got != want {
		t.Errorf("Find = %+v, %v, want %+v", got, ok, want)
	}
	newest := r.Newest(3)
	if len(newest) != 3 || newest[0].RequestID != fmt.Sprintf("%032x", maxRefusals+9) || newest[2].RequestID != fmt.Sprintf("%032x", maxRefusals+7) {
		t.Errorf("Newest = %+v", newest)
	}
	if long, _ := r.Find(fmt.Sprintf("%032x", 299)); len(long.Path) != maxPart {
		t.Errorf("a path of 300 bytes is kept with %d", len(long.Path))
	}
}

func TestRefusalsAreServed(t *testing.T) {
	t.Parallel()
	r := NewRefusals()
	r.Note(refused(1))
	for query, want := range map[string]string{
		"id=" + strings.ToUpper(fmt.Sprintf("%032x", 1)): `"reason":"over-minute"`,
		"id=00":     "has forgotten it",
		"n=5":       `"data":[{"request_id"`,
		"n=x":       `"data":[{"request_id"`,
		"id=%00%ff": "has forgotten it",
	} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status/refusals?"+query, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("?%s answers %d %s, want %q", query, w.Code, w.Body, want)
		}
	}
}

func TestRefusalsAreCountedByReason(t *testing.T) {
	t.Parallel()
	r := NewRefusals()
	for i := range 3 {
		r.Note(refused(i))
	}
	for i := range 2 * maxReasons {
		x := refused(i)
		x.Reason = fmt.Sprint("reason ", i)
		r.Note(x)
	}
	text := string(r.append(nil))
	if !strings.Contains(text, `sekifuda_refused_total{reason="over-minute"} 3`) || !strings.Contains(text, fmt.Sprintf(`{reason="other"} %d`, maxReasons+1)) {
		t.Errorf("metrics say\n%.400s", text)
	}
}

func TestAllocNote(t *testing.T) {
	r := NewRefusals()
	x := refused(5)
	for range maxRefusals {
		r.Note(x)
	}
	if n := testing.AllocsPerRun(100, func() { r.Note(x) }); n != 0 {
		t.Errorf("Note allocates %v times", n)
	}
}

func BenchmarkNote(b *testing.B) {
	r, x := NewRefusals(), refused(5)
	for b.Loop() {
		r.Note(x)
	}
}
