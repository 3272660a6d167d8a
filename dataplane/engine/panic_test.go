//lint:file-ignore SA1019 the client of this package's tests speaks HTTP/2 without TLS

package engine

import (
	"net/http"
	"slices"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// TestLogFiltersSeeAPanickedExchange panics in each phase, the log's too: every log filter is
// asked once, whatever another one does.
func TestLogFiltersSeeAPanickedExchange(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"request", "response", "log"} {
		tr := &trace{}
		first, second := &bursting{trace: tr, name: "first", log: true}, &bursting{trace: tr, name: "second", phase: phase}
		third := &bursting{trace: tr, name: "third"}
		up := startUpstream(t, hello)
		g := startGate(t, up.addr, withChain(chainOf(first, second, third)))
		want := []string{"first", "second", "third"}
		if phase == "request" {
			want = want[:2] // the third was never reached
		}
		tr.expect(t, phase, want, func() {
			c, _ := g.dial()
			c.Write([]byte(getOK + "\r\n"))
		})
		tr.expect(t, phase+" over HTTP/2", want, func() {
			req, _ := http.NewRequest(http.MethodGet, "http://"+g.addr+"/ok", nil)
			if res, err := h2client(t).RoundTrip(req); err == nil {
				res.Body.Close()
			}
		})
	}
}

// expect wants log filters to be asked in this order by what ask does, and no more.
func (t *trace) expect(tt *testing.T, what string, want []string, ask func()) {
	tt.Helper()
	ask()
	var got []string
	eventually(tt, what+": the filters are asked", func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		got = slices.Clone(t.what)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		tt.Errorf("%s: asked %v, want %v", what, got, want)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.what = nil
}

// bursting panics in a phase, and with log in that of the log too.
type bursting struct {
	*trace
	name, phase string
	log         bool
}

func (b *bursting) OnRequest(*plugin.Exchange) plugin.Verdict {
	b.burst("request")
	return plugin.Next
}

func (b *bursting) OnResponse(*plugin.Exchange) { b.burst("response") }

func (b *bursting) OnLog(*plugin.Exchange) {
	b.note(b.name)
	if b.log {
		panic("log")
	}
	b.burst("log")
}

func (b *bursting) burst(in string) {
	if in == b.phase {
		panic(in)
	}
}
