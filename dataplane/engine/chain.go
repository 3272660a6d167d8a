package engine

import (
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/plugin"
)

// request runs the request phase of a chain. The first verdict that answers is returned; the
// steps after it are still chosen, because their response and log phases run (Kong 3.9.1
// collects them too).
func (e *exchange) request(c *graph.Chain) plugin.Verdict {
	var answer plugin.Verdict
	if c == nil {
		return answer
	}
	for i := range c.Steps {
		in := c.Steps[i].For(e.x.Consumer)
		if in == nil {
			continue
		}
		e.picked = append(e.picked, in)
		if in.Request != nil && !answer.Done() {
			e.waited = true
			if answer = in.Request.OnRequest(&e.x); answer.Done() {
				e.x.Decided = plugin.Decided{Plugin: in.Plugin.Name, ID: in.ID}
			} else if s := e.eng.blocks.Load(); s != nil {
				answer = e.blockedWho(s)
			}
		}
	}
	return answer
}

// collect chooses a chain's steps for their response and log phases only.
func (e *exchange) collect(c *graph.Chain) {
	if c == nil {
		return
	}
	for i := range c.Steps {
		if in := c.Steps[i].For(e.x.Consumer); in != nil {
			e.picked = append(e.picked, in)
		}
	}
}

// respond prepares the head of the answer: early lines, response filters, and then the gate's
// own marks, which Kong sets after its filters too.
func (e *exchange) respond() {
	x := &e.x
	mergeEarly(&x.Response.Header, &x.Early)
	e.debug(&x.Response.Header)
	e.keepCookie(&x.Response.Header)
	status := x.Response.Status
	for _, in := range e.picked {
		if in.Response != nil {
			in.Response.OnResponse(x)
		}
	}
	if x.Response.Status != status || e.reason == "" && x.Response.Source == plugin.FromGate {
		e.reason = reasonPhrase(x.Response.Status)
	}
	e.mark()
}

// mergeEarly puts early lines in the place of lines of the same name.
func mergeEarly(h, early *plugin.Header) {
	lines := early.Fields()
	for i := range lines {
		if seenBefore(lines[:i], lines[i].Name) {
			h.Append(lines[i].Name, lines[i].Value)
		} else {
			h.Set(lines[i].Name, lines[i].Value)
		}
	}
}

func seenBefore(lines []plugin.Field, name string) bool {
	for i := range lines {
		if plugin.EqualName(lines[i].Name, name) {
			return true
		}
	}
	return false
}
