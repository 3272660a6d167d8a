package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
)

type (
	requestFunc  func(*plugin.Exchange) plugin.Verdict
	responseFunc func(*plugin.Exchange)
	logFunc      func(*plugin.Exchange)
)

func (f requestFunc) OnRequest(x *plugin.Exchange) plugin.Verdict { return f(x) }
func (f responseFunc) OnResponse(x *plugin.Exchange)              { f(x) }
func (f logFunc) OnLog(x *plugin.Exchange)                        { f(x) }

func instanceOf(f plugin.Filter) *graph.Instance {
	in := &graph.Instance{ID: "p", Plugin: &plugin.Plugin{Plugin: &schema.Plugin{Name: "test"}}, Filter: f}
	in.Request, _ = f.(plugin.RequestFilter)
	in.Response, _ = f.(plugin.ResponseFilter)
	in.Log, _ = f.(plugin.LogFilter)
	return in
}

func chainOf(filters ...plugin.Filter) *graph.Chain {
	c := &graph.Chain{}
	for _, f := range filters {
		c.Steps = append(c.Steps, graph.Step{Any: instanceOf(f)})
	}
	return c
}

func withChain(c *graph.Chain) option {
	return func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.Chain = c }
}

// trace notes in which order phases run.
type trace struct {
	mu   sync.Mutex
	what []string
}

func (t *trace) note(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.what = append(t.what, s)
}

type noting struct {
	*trace
	name    string
	verdict plugin.Verdict
}

func (n noting) OnRequest(*plugin.Exchange) plugin.Verdict {
	n.note(n.name + ".request")
	return n.verdict
}
func (n noting) OnResponse(*plugin.Exchange) { n.note(n.name + ".response") }
func (n noting) OnLog(*plugin.Exchange)      { n.note(n.name + ".log") }

func TestAnsweredRequestStillCollectsLaterSteps(t *testing.T) {
	t.Parallel()
	tr := &trace{}
	who := &plugin.Consumer{ID: "c1"}
	c := chainOf(noting{tr, "a", plugin.Next},
		requestFunc(func(x *plugin.Exchange) plugin.Verdict {
			x.Consumer = who
			x.Early.Append("X-Early", "1")
			x.Early.Append("x-early", "2")
			return plugin.Deny(429, "slow down").Because("over-minute")
		}))
	c.Steps = append(c.Steps,
		graph.Step{Any: instanceOf(noting{tr, "any", plugin.Next}), ByConsumer: map[string]*graph.Instance{"c1": instanceOf(noting{tr, "mine", plugin.Next})}},
		graph.Step{ByConsumer: map[string]*graph.Instance{"c2": instanceOf(noting{tr, "other", plugin.Next})}})
	reason := make(chan string, 1)
	c.Steps = append(c.Steps, graph.Step{Any: instanceOf(logFunc(func(x *plugin.Exchange) {
		reason <- fmt.Sprint(x.Reason, x.Response.Source, x.Response.Header.Get("X-Kong-Response-Latency") != "")
	}))})
	g := startGate(t, "", withChain(c))
	r := g.send(getOK + "\r\n")
	if r.StatusCode != 429 || !strings.Contains(bodyOf(r), `"message":"slow down"`) || !slices.Equal(r.Header.Values("X-Early"), []string{"1", "2"}) {
		t.Errorf("answer = %d %v", r.StatusCode, r.Header)
	}
	if got := <-reason; got != "over-minute0 true" {
		t.Errorf("logged = %q", got)
	}
	want := []string{"a.request", "a.response", "mine.response", "a.log", "mine.log"}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !slices.Equal(tr.what, want) {
		t.Errorf("phases = %v, want %v", tr.what, want)
	}
}

func TestGlobalChainSeesMissingRoute(t *testing.T) {
	t.Parallel()
	tr := &trace{}
	g := startGate(t, "")
	g.Swap(&testGraph{global: chainOf(noting{tr, "g", plugin.Next})}, 2)
	g.send("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	eventually(t, "log", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return slices.Equal(tr.what, []string{"g.response", "g.log"})
	})
}

func TestFiltersChangeRequestAndAnswer(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr, withChain(chainOf(
		requestFunc(func(x *plugin.Exchange) plugin.Verdict {
			b, err := x.ReadBody(0)
			if err != nil {
				return plugin.Deny(500, err.Error())
			}
			x.SetBody([]byte("[" + string(b) + "]"))
			x.Request.Header.Set("X-Consumer-Username", "a\r\nEvil: 1")
			x.Upstream.Path, x.Upstream.Query, x.Upstream.Method, x.Upstream.Host = "/new path", "q=1 2", "PUT", "h.test"
			return plugin.Next
		}),
		responseFunc(func(x *plugin.Exchange) {
			x.Response.Header.Del("Content-Type")
			x.Response.Header.Set("X-Up", fmt.Sprint(x.Response.Source == plugin.FromUpstream, x.Upstream.Target() == up.addr))
			x.Response.Status = 201
			x.Response.Rewrite(func(b []byte) []byte { return []byte(strings.ToUpper(string(b)) + "!") })
		}))))
	r := g.send("POST /ok HTTP/1.1\r\nHost: a\r\nConnection: X-Consumer-Username\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
	if got := bodyOf(r); got != "HELLO!" || r.Status != "201 Created" || r.Header.Get("X-Up") != "true true" || r.ContentLength != 6 || r.Header.Get("Content-Type") != "" {
		t.Errorf("answer = %s %q %v", r.Status, got, r.Header)
	}
	got := up.requests()[0]
	for _, want := range []string{"PUT /new%20path?q=1%202 HTTP/1.1\r\nHost: h.test\r\n", "X-Consumer-Username: a  Evil: 1\r\n", "Content-Length: 4\r\n", "\r\n\r\n[hi]"} {
		if !strings.Contains(got, want) {
			t.Errorf("upstream saw %q, want %q in it", got, want)
		}
	}
}

func TestRawVerdicts(t *testing.T) {
	t.Parallel()
	v := plugin.Exit(200, "", "")
	g := startGate(t, "", withChain(chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
		if x.Request.Query == "m" {
			return plugin.ExitMessage(403, `a "b"`)
		}
		return v
	}))))
	if r := g.send(getOK + "\r\n"); r.StatusCode != 200 || r.ContentLength != 0 || len(r.Header.Values("Content-Type")) > 0 {
		t.Errorf("empty answer = %d %v", r.StatusCode, r.Header)
	}
	if r := g.send("GET /ok?m HTTP/1.1\r\nHost: a\r\n\r\n"); bodyOf(r) != `{"message":"a \"b\""}` {
		t.Errorf("message = %q", bodyOf(r))
	}
}

func TestKeptAnswersAreMarkedAsProxied(t *testing.T) {
	t.Parallel()
	g := startGate(t, "", withChain(chainOf(requestFunc(func(*plugin.Exchange) plugin.Verdict {
		return plugin.Exit(203, "text/plain", "kept").Kept()
	}))), func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
		id := *KongIdentity()
		id.UpstreamStatus = true
		o.Identity = &id
	})
	h := g.send(getOK + "\r\n").Header
	if got := h.Get("X-Kong-Upstream-Status"); got != "203" {
		t.Errorf("status of the upstream = %q, want that of the answer which was kept", got)
	}
	if h.Get("X-Kong-Upstream-Latency") != "0" || h.Get("X-Kong-Proxy-Latency") == "" || h.Get("X-Kong-Response-Latency") != "" || h.Get("Via") == "" {
		t.Errorf("head of a kept answer = %v", h)
	}
}

func TestPanickingFilterHarmsOnlyItsConnection(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr, withChain(chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
		if x.Request.Query == "boom" {
			panic("boom")
		}
		return plugin.Next
	}))))
	c, r := g.dial()
	c.Write([]byte("GET /ok?boom HTTP/1.1\r\nHost: a\r\n\r\n"))
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("answer to a panic = %q", line)
	}
	if got := bodyOf(g.send(getOK + "\r\n")); got != "hello" {
		t.Errorf("next exchange = %q", got)
	}
}

func TestProtocolChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		protocols graph.Protocols
		redirect  int
		fields    string
		trusted   bool
		status    int
		head      string
		body      string
	}{
		{"https only", graph.HTTPS, 426, "", false, 426, "Upgrade: TLS/1.2, HTTP/1.1", "Please use HTTPS protocol"},
		{"untrusted proto", graph.HTTPS, 426, "X-Forwarded-Proto: https\r\n", false, 426, "", ""},
		{"trusted proto", graph.HTTPS, 426, "X-Forwarded-Proto: https\r\n", true, 200, "", "hello"},
		{"301", graph.HTTPS, 301, "", false, 301, "Location: https://gw.test/ok?a=b", "<html>\r\n<head><title>301 Moved Permanently"},
		{"308", graph.HTTPS, 308, "", false, 308, "Content-Type: text/html; charset=UTF-8", ""},
		{"grpc route", graph.GRPC, 426, "", false, 415, "", "Non-gRPC request matched gRPC route"},
		{"grpc over 1.1", graph.GRPC, 426, "Content-Type: application/grpc\r\n", false, 426, "Upgrade: HTTP/2", "Please use HTTP2 protocol"},
		{"both", graph.HTTP | graph.HTTPS, 426, "", false, 200, "", "hello"},
	} {
		up := startUpstream(t, hello)
		g := startGate(t, up.addr, func(o *Options, e *graph.Endpoint, _ *upstream.Spec) {
			e.Protocols, e.RedirectStatus = c.protocols, c.redirect
			if c.trusted {
				o.TrustedIPs = trustLoopback
			}
		})
		r := g.send("GET /ok?a=b HTTP/1.1\r\nHost: gw.test:81\r\n" + c.fields + "\r\n")
		if r.StatusCode != c.status || !strings.Contains(bodyOf(r), c.body) {
			t.Errorf("%s: %d, want %d", c.name, r.StatusCode, c.status)
		}
		if k, v, _ := strings.Cut(c.head, ": "); c.head != "" && r.Header.Get(k) != v {
			t.Errorf("%s: %s = %q, want %q", c.name, k, r.Header.Get(k), v)
		}
	}
}
