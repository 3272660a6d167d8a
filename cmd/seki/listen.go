package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens a listener; "off" opens none. Port 0 picks a free one.
func listen(what, flagName, addr string) (net.Listener, error) {
	if addr == "off" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is taken by another program; choose another address with --%s or %s",
			what, addr, flagName, variable(flagName))
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("%s: not allowed to listen on %s; choose a port above 1023 with --%s or %s",
			what, addr, flagName, variable(flagName))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: listen on %s (--%s): %w", what, addr, flagName, err)
	}
	return l, nil
}

// onLoopback reports whether an address is reachable from this machine alone.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
