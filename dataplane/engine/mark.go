package engine

import (
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// mark puts the gate's own lines on an answer.
func (e *exchange) mark() {
	x, id := &e.x, e.eng.opt.Identity
	h := &x.Response.Header
	if e.proxied {
		if id.Latency {
			heard, sent := x.Times.FirstByte, x.Times.Proxied
			if heard.IsZero() {
				heard = e.now
			}
			if sent.IsZero() { // an answer that was kept
				sent = heard
			}
			h.Set("X-Kong-Upstream-Latency", e.millis(heard.Sub(sent)))
			h.Set("X-Kong-Proxy-Latency", e.millis(sent.Sub(x.Times.Start)))
		}
		if id.Via != "" {
			e.markVia(h)
		}
		if id.Server != "" {
			if _, there := h.Lookup("Server"); !there {
				h.Append("Server", id.Server)
			}
		}
		if id.UpstreamStatus && x.Response.UpstreamStatus != "" {
			s := x.Response.UpstreamStatus
			h.Set("X-Kong-Upstream-Status", s[strings.LastIndexByte(s, ' ')+1:])
		}
	} else {
		if id.Latency {
			h.Set("X-Kong-Response-Latency", e.millis(e.now.Sub(x.Times.Start)))
		}
		if id.Server != "" {
			h.Set("Server", id.Server)
		}
	}
	if id.RequestID {
		h.Set("X-Kong-Request-Id", x.ID)
	}
}

// markVia appends the gate to Via, with the version of the upstream's protocol.
func (e *exchange) markVia(h *plugin.Header) {
	from := len(e.scratch)
	if v, ok := h.Lookup("Via"); ok {
		e.scratch = append(append(e.scratch, v...), ", "...)
	}
	e.scratch = append(e.scratch, e.reply.version()...)
	e.scratch = append(e.scratch, ' ')
	e.scratch = append(e.scratch, e.eng.opt.Identity.Via...)
	h.Set("Via", e.since(from))
}

func (e *exchange) millis(d time.Duration) string {
	from := len(e.scratch)
	e.scratch = strconv.AppendInt(e.scratch, max(d.Milliseconds(), 0), 10)
	return e.since(from)
}
