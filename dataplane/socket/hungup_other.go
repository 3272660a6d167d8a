//go:build !linux

package socket

import "net"

// hungUp cannot be told here without reading; the client's end shows at the next write.
func hungUp(*net.TCPConn) bool { return false }
