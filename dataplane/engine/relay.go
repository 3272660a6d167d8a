package engine

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/plugin"
)

// relay passes the upstream's answer to the client.
func (e *exchange) relay() {
	r, x := &e.reply, &e.x
	x.Response.Status, x.Response.Source = r.head.Status, plugin.FromUpstream
	e.reason = r.head.Reason
	x.Response.Length = r.head.Length
	e.bodyless = h1.Bodyless(e.method(), r.head.Status)
	if r.head.Status == 101 {
		e.relayUpgrade()
		return
	}
	e.cleanHead()
	r.frame(e.bodyless)
	e.respond()
	if len(x.Response.Rewrites()) > 0 && !e.bodyless {
		e.relayRewritten()
		return
	}
	if len(x.Response.Edits()) > 0 && !e.bodyless {
		e.relayEdited()
		return
	}
	e.relayBody()
}

// cleanHead takes what was meant for the gate off the answer, and what nginx hides.
func (e *exchange) cleanHead() {
	h := &e.x.Response.Header
	e.reply.head.DropNamed(h)
	h.Drop(hiddenFromClient)
	if !e.head.Trailers { // who asks for no trailers is told of none
		h.Del("Trailer")
	}
	e.addCharset(h)
}

// hiddenFromClient names the fields of an answer that end at the gate.
func hiddenFromClient(name string) bool {
	if name == "" {
		return true
	}
	switch name[0] | 0x20 {
	case 'c':
		return plugin.EqualName(name, "connection")
	case 'd':
		return plugin.EqualName(name, "date") // the gate dates its answers itself, as nginx does
	case 'k':
		return plugin.EqualName(name, "keep-alive")
	case 't':
		return plugin.EqualName(name, "transfer-encoding")
	case 'u':
		return plugin.EqualName(name, "upgrade")
	case 'x':
		return plugin.EqualName(name, "x-pad") || len(name) > 8 && plugin.EqualName(name[:8], "x-accel-")
	}
	return false
}

// addCharset does what nginx's charset directive does in Kong: the types that it knows as text
// get one when they have none.
func (e *exchange) addCharset(h *plugin.Header) {
	v := h.Get("Content-Type")
	for _, text := range charsetTypes {
		if plugin.EqualName(v, text) {
			from := len(e.scratch)
			e.scratch = append(append(e.scratch, v...), "; charset=UTF-8"...)
			h.Set("Content-Type", e.since(from))
			return
		}
	}
}

var charsetTypes = [...]string{"text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"}

// relayBody streams: what one read brings is written at once.
func (e *exchange) relayBody() {
	r := &e.reply
	timeout := e.endpoint.Upstream.Spec.ReadTimeout
	lo, hi, err := r.early()
	if err != nil {
		e.broken()
		return
	}
	e.settleIfDone()
	if err := e.client.start(e, r.b[lo:hi], r.done && !r.hasTrailer()); err != nil {
		e.broken()
		return
	}
	ended := r.done && !r.hasTrailer()
	if !r.done {
		e.look()
	}
	for !r.done {
		lo, hi, err = r.next(e, timeout)
		if err != nil {
			e.broken()
			return
		}
		e.settleIfDone()
		if hi > lo {
			if err := e.client.send(e, r.b, lo, hi); err != nil {
				e.broken()
				return
			}
			e.look()
		}
	}
	if !ended && !e.bodyless {
		var trailer plugin.Header
		if r.hasTrailer() {
			_ = r.coding.Trailer(&trailer) // Decode has checked it
		}
		if err := e.client.finish(e, &trailer); err != nil {
			e.broken()
			return
		}
	}
	e.stopPump()
	r.settle(e, !e.body.pumping)
}

// settleIfDone gives the upstream's connection back before the last piece is written: the
// client's next request may come before this goroutine runs again.
func (e *exchange) settleIfDone() {
	if e.reply.done && !e.body.pumping {
		e.reply.settle(e, true)
	}
}

// hasTrailer reports whether fields follow the body.
func (r *reply) hasTrailer() bool { return r.chunked && r.coding.HasTrailer() }

// broken ends an answer that was begun and cannot be completed.
func (e *exchange) broken() {
	e.client.cut()
	e.stopPump()
	e.reply.settle(e, false)
}

// maxRewrite bounds the body that is held in memory because a filter rewrites it.
const maxRewrite = 64 << 20

var errRewriteTooLarge = errors.New("answer is too large to be rewritten")

// relayRewritten holds the whole body, has filters edit it and sends what they made of it.
func (e *exchange) relayRewritten() {
	body, err := e.wholeReply()
	if err != nil {
		e.eng.opt.Logger.Warn("rewrite answer", "request_id", strings.Clone(e.x.ID), "error", err)
		e.broken()
		return
	}
	before := e.x.Response.Status
	for _, edit := range e.x.Response.Rewrites() {
		body = edit(body)
	}
	if e.x.Response.Status != before {
		e.reason = reasonPhrase(e.x.Response.Status)
	}
	e.settleIfDone()
	// Without the field, which filters that edit take out, the body goes in chunks, as Kong's.
	e.x.Response.Length = -1
	if _, told := e.x.Response.Header.Lookup("Content-Length"); told {
		e.x.Response.Length = int64(len(body))
		e.x.Response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if err := e.client.start(e, body, true); err != nil {
		e.broken()
		return
	}
	e.stopPump()
	e.reply.settle(e, !e.body.pumping)
}

func (e *exchange) wholeReply() ([]byte, error) {
	r := &e.reply
	lo, hi, err := r.early()
	body := append([]byte(nil), r.b[lo:hi]...)
	for err == nil && !r.done {
		if lo, hi, err = r.next(e, e.endpoint.Upstream.Spec.ReadTimeout); err == nil {
			body = append(body, r.b[lo:hi]...)
		}
		if len(body) > maxRewrite {
			return nil, errRewriteTooLarge
		}
	}
	return body, err
}
