package engine

import (
	"io"
	"net"
)

// relayUpgrade answers 101 and then carries bytes both ways until one side ends.
func (e *exchange) relayUpgrade() {
	e.stopPump()
	if e.body.pumping { // the request's body has not ended: the tunnel would begin inside it
		e.broken()
		return
	}
	h := &e.x.Response.Header
	protocol := e.head.Protocol
	e.cleanHead()
	h.Append("Upgrade", protocol)
	e.x.Response.Length = -1
	e.respond()
	if e.x.Response.Status != 101 { // a filter turned it into something else
		e.x.Response.Status = 101
	}
	if err := e.client.start(e, nil, false); err != nil {
		e.broken()
		return
	}
	r := &e.reply
	up := r.conn.Net()
	r.conn = nil
	lost := !e.watch.detach()
	client, early := e.client.tunnel()
	defer up.Close()
	e.watch.carries(e.subject(), func() { client.Close(); up.Close() })
	if lost || e.cutOff() {
		return
	}
	late := r.b[r.end:r.w]
	done := make(chan int64, 1)
	go func() {
		n := carry(client, up, late)
		done <- n
	}()
	e.body.seen += carry(up, client, early)
	e.x.Response.Size += <-done
}

// carry copies until the source ends and then closes the destination's side; if that cannot be
// done by halves, all of it.
func carry(to, from net.Conn, early []byte) int64 {
	n, err := to.Write(early)
	total := int64(n)
	if err == nil {
		var more int64
		more, err = io.Copy(to, from)
		total += more
	}
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.Close()
		from.Close()
	}
	return total
}
