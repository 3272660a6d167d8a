package engine

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/proxyproto"
)

// Announced is a listener whose connections begin with a PROXY protocol header. One that does
// not is closed. What the header says of the client counts when the peer is trusted and
// Options.RealIPHeader is FromProxyProtocol.
type Announced struct{ net.Listener }

// FromProxyProtocol is the RealIPHeader that takes a client's address from PROXY headers.
const FromProxyProtocol = "proxy_protocol"

// announced reads the header that must come first on some listeners. ok is false when the
// connection is to be closed.
func (e *Engine) announced(c net.Conn) (claim netip.AddrPort, ok bool) {
	if err := c.SetReadDeadline(e.opt.Now().Add(e.opt.HeaderTimeout)); err != nil {
		return claim, false
	}
	h, err := proxyproto.Read(c)
	if err != nil {
		// One who closes without a word is a port scan or a health check, not a bad header.
		if errors.Is(err, proxyproto.ErrMalformed) {
			e.counts.malformedProxy.Add(1)
		}
		return claim, false
	}
	if h.Source.IsValid() && !e.opt.trusts(addrPort(c.RemoteAddr()).Addr()) {
		e.counts.untrustedProxy.Add(1)
		h.Source = claim
	}
	return h.Source, c.SetReadDeadline(time.Time{}) == nil
}

// believe takes the client from a PROXY header where that is asked for.
func (e *exchange) believe() {
	e.sourcePort = e.x.Peer.Port()
	if e.claim.IsValid() && e.eng.opt.RealIPHeader == FromProxyProtocol {
		e.x.Client, e.sourcePort = e.claim.Addr(), e.claim.Port()
	}
}
