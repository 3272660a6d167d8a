//go:build !unix

package socket

import "net"

// readable cannot be told here without reading: a stale connection shows when it is used.
func readable(*net.TCPConn) bool { return false }
