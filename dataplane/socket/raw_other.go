//go:build !linux

package socket

import "net"

// raw is for Linux; elsewhere connections read and write as the net package does.
type raw struct{}

func (*raw) init(*net.TCPConn) {}

func poll(*net.TCPConn) net.Conn { return nil }
