package h1

import "bytes"

// Limits bound what a peer may send before it is believed.
type Limits struct {
	RequestLine int // bytes of the first line
	FieldLine   int // bytes of one field line
	Head        int // bytes of first line and fields
	Fields      int // number of field lines
}

// RequestLimits are Kong's: nginx reads a line into a buffer of 8 KiB.
var RequestLimits = Limits{RequestLine: 8 << 10, FieldLine: 8 << 10, Head: 64 << 10, Fields: 256}

// ResponseLimits bound the head of an upstream's answer.
var ResponseLimits = Limits{RequestLine: 8 << 10, FieldLine: 64 << 10, Head: 64 << 10, Fields: 512}

// maxBlank bounds the empty lines before a request line that RFC 9112 2.2 tells to ignore.
const maxBlank = 8

// SkipBlank returns the number of bytes of leading empty lines in b, or ErrLine when there
// are too many.
func SkipBlank(b []byte) (int, error) {
	n := 0
	for len(b) >= n+2 && b[n] == '\r' && b[n+1] == '\n' {
		if n += 2; n > 2*maxBlank {
			return 0, ErrLine
		}
	}
	return n, nil
}

// Scan looks for the end of a head in b, which begins with the first line. next is where an
// earlier call of the same head stopped, at first 0: a peer that sends byte by byte costs no
// more than one that sends at once. It returns the length of the head with its empty line, or
// 0 when bytes are missing.
func (l *Limits) Scan(b []byte, next int) (end, resume int, err error) {
	for {
		i := bytes.IndexByte(b[next:], '\n')
		n := i
		if i < 0 {
			n = len(b) - next
		}
		if next == 0 && n > l.RequestLine {
			return 0, next, ErrURITooLong
		}
		if n > l.FieldLine && next > 0 || next+n > l.Head {
			return 0, next, ErrTooLarge
		}
		switch {
		case i < 0:
			return 0, next, nil
		case i == 0 || b[next+i-1] != '\r':
			return 0, next, ErrBareLF
		case i == 1 && next == 0:
			return 0, next, ErrLine
		case i == 1:
			return next + 2, next, nil
		}
		next += i + 1
	}
}
