package router

// NormalizePath returns a request path as Kong compares it: percent-encoding undone except
// for reserved characters, dot segments removed, slashes merged. A path that is already
// normal is returned as it is, without allocation. It is idempotent.
func NormalizePath(path string) string {
	i := firstOdd(path)
	if i == len(path) {
		return path
	}
	return string(joinSegments(decode(path, i)))
}

// firstOdd returns the index of the first byte that may have to change.
func firstOdd(path string) int {
	if len(path) > 0 && path[0] == '.' {
		return 0
	}
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '/':
			if oddSegment(path[i+1:]) {
				return i
			}
		case '%':
			if c, ok := escape(path[i:]); ok && (keep(path[:i], c) == decoded || !upperEscape(path[i:])) {
				return i
			}
		}
	}
	return len(path)
}

// oddSegment reports whether what follows a slash begins with an empty or a dot segment.
func oddSegment(rest string) bool {
	switch {
	case rest == "":
		return false
	case rest[0] == '/':
		return true
	case rest[0] != '.':
		return false
	case len(rest) == 1 || rest[1] == '/':
		return true
	}
	return rest[1] == '.' && (len(rest) == 2 || rest[2] == '/')
}

// escape reads a percent-encoded byte at the start of s.
func escape(s string) (byte, bool) {
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return 0, false
	}
	return unhex(s[1])<<4 | unhex(s[2]), true
}

func upperEscape(s string) bool { return upperHex(s[1]) == s[1] && upperHex(s[2]) == s[2] }

type treatment bool

const (
	decoded treatment = false
	kept    treatment = true
)

// keep says what becomes of an escaped byte c behind what is already written. A digit that
// would complete a lone "%" before it stays escaped: else the result would mean something
// else when it is read again.
func keep[S string | []byte](before S, c byte) treatment {
	if reserved(c) {
		return kept
	}
	n := len(before)
	if isHex(c) && (n > 0 && before[n-1] == '%' || n > 1 && before[n-2] == '%' && isHex(before[n-1])) {
		return kept
	}
	return decoded
}

// reserved are the characters that Kong leaves escaped.
func reserved(c byte) bool {
	switch c {
	case '!', '*', '\'', '(', ')', ';', ':', '@', '&', '=', '+', '$', ',', '/', '?', '%', '#', '[', ']':
		return true
	}
	return false
}

// decode undoes escapes from i on; before it there is nothing to do.
func decode(path string, i int) []byte {
	out := make([]byte, i, len(path))
	copy(out, path)
	for i < len(path) {
		c, ok := byte(0), false
		if path[i] == '%' {
			c, ok = escape(path[i:])
		}
		switch {
		case !ok:
			out = append(out, path[i])
			i++
			continue
		case keep(out, c) == kept:
			out = append(out, '%', upperHex(path[i+1]), upperHex(path[i+2]))
		default:
			out = append(out, c)
		}
		i += 3
	}
	return out
}

// joinSegments removes empty and dot segments, in place. A path that ends with one ends with
// a slash. Leading dot segments of a path that does not begin with a slash are dropped.
func joinSegments(p []byte) []byte {
	for len(p) > 0 && p[0] == '.' {
		dots := 1
		if len(p) > 1 && p[1] == '.' {
			dots = 2
		}
		if len(p) == dots {
			return nil
		}
		if p[dots] != '/' {
			break
		}
		p = p[dots+1:]
	}
	out := p[:0]
	i := 0
	if len(p) > 0 && p[0] != '/' {
		i = segmentEnd(p, 0)
		out = p[:i]
	}
	for i < len(p) { // p[i] is a slash
		end := segmentEnd(p, i+1)
		segment := p[i+1 : end]
		last := end == len(p)
		switch {
		case len(segment) == 0 || string(segment) == ".":
		case string(segment) == "..":
			out = cutSegment(out)
		default:
			out = append(out, p[i:end]...)
			i = end
			continue
		}
		if last {
			out = append(out, '/')
		}
		i = end
	}
	return out
}

func segmentEnd(p []byte, i int) int {
	for i < len(p) && p[i] != '/' {
		i++
	}
	return i
}

func cutSegment(out []byte) []byte {
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == '/' {
			return out[:i]
		}
	}
	return out[:0]
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

func upperHex(c byte) byte {
	if 'a' <= c && c <= 'f' {
		return c &^ 0x20
	}
	return c
}
