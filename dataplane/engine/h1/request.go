package h1

import (
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// ParseRequest parses a request head of which Scan found the end. It fills fields with all
// field lines.
func (h *Head) ParseRequest(b []byte, most int, fields *plugin.Header) error {
	h.reset()
	n, err := h.requestLine(b)
	if err != nil {
		return err
	}
	if err := h.fields(b[n:], most, fields); err != nil {
		return err
	}
	if err := h.framing(); err != nil {
		return err
	}
	host := h.Host
	if h.hosts > 1 || h.hosts == 0 && h.Minor > 0 || h.hosts == 1 && !ValidHost(host) {
		return ErrHost
	}
	if h.Minor == 0 {
		h.Expect100 = false // RFC 9110 10.1.1
	}
	if h.Method == "TRACE" || h.Method == "CONNECT" {
		return ErrForbidden // nginx refuses both
	}
	return h.splitTarget()
}

func (h *Head) requestLine(b []byte) (int, error) {
	i := 0
	// nginx takes upper-case methods only.
	for c := b[i]; 'A' <= c && c <= 'Z' || c == '-' || c == '_'; c = b[i] {
		i++
	}
	if i == 0 || b[i] != ' ' {
		return 0, ErrMethod
	}
	h.Method = view(b[:i])
	start := i + 1
	i = start
	for targetChar[b[i]] {
		i++
	}
	if i == start || b[i] != ' ' {
		return 0, ErrTarget
	}
	h.Target = view(b[start:i])
	v := b[i+1:]
	if len(v) < 10 || v[8] != '\r' || v[9] != '\n' || string(v[:5]) != "HTTP/" || v[6] != '.' || v[5]-'0' > 9 || v[7]-'0' > 9 {
		return 0, ErrLine
	}
	if v[5] != '1' {
		return 0, ErrVersion
	}
	h.Minor = min(int(v[7]-'0'), 1)
	return i + 11, nil
}

// CheckTarget does for a head that came otherwise than by ParseRequest, with Method, Target and
// Host set, what ParseRequest does: it checks them and fills Path and Query.
func (h *Head) CheckTarget() *Error {
	var err error
	switch {
	case h.Method == "TRACE" || h.Method == "CONNECT":
		err = ErrForbidden
	case len(h.Target) > RequestLimits.RequestLine:
		err = ErrURITooLong
	case h.Target == "" || h.Target[0] != '/':
		err = ErrTarget
	case !ValidHost(h.Host):
		err = ErrHost
	default:
		err = h.splitTarget()
	}
	if err != nil {
		return err.(*Error)
	}
	return nil
}

// splitTarget reads the target's form. The asterisk is refused, as nginx does.
func (h *Head) splitTarget() error {
	t := h.Target
	if t[0] != '/' {
		rest, ok := cutScheme(t)
		if !ok {
			return ErrTarget
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		h.Host = rest[:end]
		if !ValidHost(h.Host) {
			return ErrHost
		}
		if t = rest[end:]; t == "" || t[0] == '?' {
			h.Path = "/"
			h.Query = strings.TrimPrefix(t, "?")
			return nil
		}
	}
	h.Path, h.Query, _ = strings.Cut(t, "?")
	return CheckPath(h.Path)
}

func cutScheme(t string) (string, bool) {
	for _, s := range [...]string{"http://", "https://"} {
		if len(t) > len(s) && plugin.EqualName(t[:len(s)], s) {
			return t[len(s):], true
		}
	}
	return "", false
}

// ValidHost reports whether v is a host with an optional port: a name, an IPv4 address or a
// bracketed IPv6 address.
func ValidHost(v string) bool {
	i := 0
	if v != "" && v[0] == '[' {
		for i = 1; i < len(v) && (v[i] == ':' || v[i] == '.' || isHex(v[i])); i++ {
		}
		if i < 3 || i == len(v) || v[i] != ']' {
			return false
		}
		i++
	} else {
		for i < len(v) && hostChar[v[i]] {
			i++
		}
		if i == 0 {
			return false
		}
	}
	if i == len(v) {
		return true
	}
	if v[i] != ':' || len(v)-i > 6 {
		return false
	}
	for i++; i < len(v); i++ {
		if v[i]-'0' > 9 {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 }

func unhex(c byte) byte {
	if c-'0' < 10 {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// CheckPath refuses what nginx refuses of a path: broken escapes, an escaped NUL, and dot
// segments that climb above the root.
func CheckPath(p string) error {
	if strings.IndexByte(p, '%') < 0 && !strings.Contains(p, "/..") {
		return nil
	}
	depth, seg, dots := 0, 0, 0
	for i := 1; ; i++ {
		c := byte('/')
		if i < len(p) {
			if c = p[i]; c == '%' {
				if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
					return ErrTarget
				}
				if c = unhex(p[i+1])<<4 | unhex(p[i+2]); c == 0 {
					return ErrTarget
				}
				i += 2
			}
		}
		if c != '/' {
			if seg++; c == '.' {
				dots++
			}
			continue
		}
		switch {
		case seg == 2 && dots == 2:
			if depth--; depth < 0 {
				return ErrTarget
			}
		case seg > 0 && (seg != 1 || dots != 1):
			depth++
		}
		if i >= len(p) {
			return nil
		}
		seg, dots = 0, 0
	}
}
