//go:build !linux

package socket

import "net"

// raw is for Linux; elsewhere connections stay those of the net package.
type raw struct{}

func (*raw) init(*net.TCPConn) bool { return false }
