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
		heard, sent := x.Times.FirstByte, x.Times.Proxied
		if heard.IsZero() {
			heard = e.now
		}
		if sent.IsZero() { // an answer that was kept
			sent = heard
		}
		if id.UpstreamLatency {
			h.Set("X-Kong-Upstream-Latency", e.millis(heard.Sub(sent)))
		}
		if id.ProxyLatency {
			h.Set("X-Kong-Proxy-Latency", e.millis(sent.Sub(x.Times.Start)))
		}
		if id.ViaResponse && id.Via != "" {
			e.markVia(h)
		}
		if id.Server != "" {
			if _, there := h.Lookup("Server"); !there {
				h.Append("Server", id.Server)
			}
		}
		if id.UpstreamStatus {
			e.markStatus(h)
		}
	} else {
		if id.ResponseLatency {
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

// debug tells which route and service a request met, when it asks and may know.
func (e *exchange) debug(h *plugin.Header) {
	x := &e.x
	if !e.eng.opt.DebugHeader || x.Route == nil || x.Request.Header.Count("Kong-Debug") == 0 {
		return
	}
	setNamed(h, "Kong-Route-Id", x.Route.ID)
	setNamed(h, "Kong-Route-Name", x.Route.Name)
	if x.Service != nil {
		setNamed(h, "Kong-Service-Id", x.Service.ID)
		setNamed(h, "Kong-Service-Name", x.Service.Name)
	}
}

func setNamed(h *plugin.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
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

// markStatus tells what the upstream answered, last or when an answer that was kept was made.
func (e *exchange) markStatus(h *plugin.Header) {
	r := &e.x.Response
	s := r.UpstreamStatus[strings.LastIndexByte(r.UpstreamStatus, ' ')+1:]
	if e.kept {
		from := len(e.scratch)
		e.scratch = strconv.AppendInt(e.scratch, int64(r.Status), 10)
		s = e.since(from)
	}
	if s != "" {
		h.Set("X-Kong-Upstream-Status", s)
	}
}

func (e *exchange) millis(d time.Duration) string {
	from := len(e.scratch)
	e.scratch = strconv.AppendInt(e.scratch, max(d.Milliseconds(), 0), 10)
	return e.since(from)
}
