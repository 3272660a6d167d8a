package engine

import (
	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/plugin"
)

// relayEdited streams the body through the filters that edit it piece by piece.
func (e *exchange) relayEdited() {
	r := &e.reply
	e.x.Response.Length = -1
	e.x.Response.Header.Del("Content-Length")
	if err := e.client.start(e, nil, false); err != nil {
		e.broken()
		return
	}
	lo, hi, err := r.early()
	for {
		if err != nil || e.sendEdited(r.b[lo:hi], r.done) != nil {
			e.broken()
			return
		}
		if r.done {
			break
		}
		lo, hi, err = r.next(e, e.endpoint.Upstream.Spec.ReadTimeout)
	}
	if err := e.finishEdited(&plugin.Header{}); err != nil {
		e.broken()
		return
	}
	e.stopPump()
	r.settle(e, !e.body.pumping)
}

// finishEdited ends the body with what the filters make of its trailer.
func (e *exchange) finishEdited(trailer *plugin.Header) error {
	for _, edit := range e.x.Response.TrailerEdits() {
		if err := e.sendPiece(edit(trailer)); err != nil {
			return err
		}
	}
	return e.client.finish(e, trailer)
}

// sendEdited sends what the filters make of a piece, at once.
func (e *exchange) sendEdited(piece []byte, last bool) error {
	for _, edit := range e.x.Response.Edits() {
		piece = edit(piece, last)
	}
	return e.sendPiece(piece)
}

// sendPiece sends what has no room around it.
func (e *exchange) sendPiece(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	b := make([]byte, h1.SizeRoom+len(piece)+h1.EndRoom)
	copy(b[h1.SizeRoom:], piece)
	return e.client.send(e, b, h1.SizeRoom, h1.SizeRoom+len(piece))
}
