package router

import (
	"strings"
	"unsafe"
)

// segments returns the segments lo to hi of a path, with the slashes between them. Empty
// ones at the end do not count.
func segments(path string, lo, hi int) (string, bool) {
	path = strings.TrimRight(strings.TrimPrefix(path, "/"), "/")
	from, at, n := 0, 0, 0
	for n <= hi && path != "" {
		end := strings.IndexByte(path[at:], '/')
		last := end < 0
		if last {
			end = len(path) - at
		}
		if n == lo {
			from = at
		}
		if n == hi {
			return path[from : at+end], true
		}
		if last {
			break
		}
		at += end + 1
		n++
	}
	return "", false
}

func segmentCount(path string) int {
	path = strings.TrimRight(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, "/")
}

// sameArgument reports whether the name of an argument, as it was sent, is name.
func sameArgument(sent, name string) bool {
	for sent != "" {
		c, n := decodeByte(sent)
		if name == "" || name[0] != c {
			return false
		}
		sent, name = sent[n:], name[1:]
	}
	return name == ""
}

// decodeByte returns the byte that an escaped text begins with, and how long its escape is.
func decodeByte(s string) (byte, int) {
	switch {
	case s[0] == '+':
		return ' ', 1
	case s[0] == '%' && len(s) >= 3 && isHex(s[1]) && isHex(s[2]):
		return unhex(s[1])<<4 | unhex(s[2]), 3
	}
	return s[0], 1
}

// unescape returns a value of the query decoded. What has to be changed goes to the scratch
// memory and is good until the next call of unescape or lower.
func (q *Request) unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := q.Scratch[:0]
	for s != "" {
		c, n := decodeByte(s)
		b, s = append(b, c), s[n:]
	}
	return q.keep(b)
}

// lower returns s in lower case, with unescape's reservation.
func (q *Request) lower(s string) string {
	if !isASCII(s) {
		return strings.ToLower(s)
	}
	i := 0
	for i < len(s) && s[i] == lower(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := q.Scratch[:0]
	for i := range len(s) { // s may be in the same memory
		b = append(b, lower(s[i]))
	}
	return q.keep(b)
}

func (q *Request) keep(b []byte) string {
	q.Scratch = b[:0]
	return unsafe.String(unsafe.SliceData(b), len(b))
}
