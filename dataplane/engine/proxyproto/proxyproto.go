// Package proxyproto reads the header by which a proxy in front tells whose connection it
// passes on: the PROXY protocol, versions 1 and 2.
//
// It knows the header's form; whether who sent it is believed is its caller's. Enter at Read.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Header is what the proxy says. The addresses are not valid when it says nothing of them: a
// check of its own, or a family that has no addresses here.
type Header struct {
	Source      netip.AddrPort
	Destination netip.AddrPort
}

// ErrMalformed says that a connection does not begin with such a header.
var ErrMalformed = errors.New("no PROXY protocol header")

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// shortest is what can be read of a connection without reading past a header: version 1
	// is "PROXY UNKNOWN\r\n" at least, version 2 is 16 bytes.
	shortest = 15
	// longest1 is the bound of a line of version 1.
	longest1 = 107
	// longest2 bounds what follows the fixed part of version 2: addresses and what else a
	// proxy tells, such as names and checksums.
	longest2 = 4 << 10
)

// Read takes the header off a connection, and not one byte more. The error is ErrMalformed
// with a reason, or one of the connection's.
func Read(r io.Reader) (Header, error) {
	b := make([]byte, shortest, longest1)
	if _, err := io.ReadFull(r, b); err != nil {
		return Header{}, err
	}
	switch {
	case bytes.HasPrefix(b, []byte(signature)):
		return read2(r, b)
	case bytes.HasPrefix(b, []byte("PROXY ")):
		return read1(r, b)
	}
	return Header{}, ErrMalformed
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// read1 reads a line byte by byte: nobody knows how long it is, and what follows is another's.
func read1(r io.Reader, b []byte) (Header, error) {
	for b[len(b)-1] != '\n' {
		if len(b) == longest1 {
			return Header{}, malformed("line is longer than %d bytes", longest1)
		}
		if _, err := io.ReadFull(r, b[len(b):len(b)+1]); err != nil {
			return Header{}, err
		}
		b = b[:len(b)+1]
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return Header{}, malformed("line does not end in CRLF")
	}
	words := strings.Split(line, " ")
	if words[1] == "UNKNOWN" {
		return Header{}, nil // what follows is to be ignored
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return Header{}, malformed("line %q", line)
	}
	source, err := endpoint(words[1], words[2], words[4])
	if err != nil {
		return Header{}, err
	}
	destination, err := endpoint(words[1], words[3], words[5])
	return Header{source, destination}, err
}

func endpoint(family, ip, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() != (family == "TCP4") || a.Zone() != "" {
		return netip.AddrPort{}, malformed("address %q of %s", ip, family)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port[0] == '+' || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, malformed("port %q", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// Version 2: a byte of version and command, one of family and transport.
const (
	commandLocal = 0x20
	commandProxy = 0x21
	overTCP4     = 0x11
	overTCP6     = 0x21
)

func read2(r io.Reader, b []byte) (Header, error) {
	b = b[:16]
	if _, err := io.ReadFull(r, b[15:]); err != nil {
		return Header{}, err
	}
	command, family, size := b[12], b[13], binary.BigEndian.Uint16(b[14:])
	switch {
	case command != commandLocal && command != commandProxy:
		return Header{}, malformed("version and command %#x", command)
	case size > longest2:
		return Header{}, malformed("%d bytes of addresses", size)
	}
	rest := make([]byte, size)
	if _, err := io.ReadFull(r, rest); err != nil {
		return Header{}, err
	}
	if command == commandLocal {
		return Header{}, nil
	}
	switch family {
	case overTCP4:
		return addresses(rest, 4)
	case overTCP6:
		return addresses(rest, 16)
	}
	return Header{}, nil
}

func addresses(b []byte, size int) (Header, error) {
	if len(b) < 2*size+4 {
		return Header{}, malformed("%d bytes are too few for two addresses", len(b))
	}
	source, _ := netip.AddrFromSlice(b[:size])
	destination, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	return Header{
		netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, nil
}
