package engine

import (
	"crypto/tls"
	"net"
)

type h2server struct{ eng *Engine }

func newH2Server(e *Engine) *h2server { return &h2server{e} }

func (s *h2server) serve(c net.Conn, tcp *net.TCPConn, state *tls.ConnectionState) {}

func (e *exchange) proxyH2() { e.page(502) }
