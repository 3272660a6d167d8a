package model

import "strings"

// NormalPath returns a path as the router sees it: unreserved and non-ASCII characters
// decoded, other escapes in upper case, dot segments resolved, slashes merged. A path
// without a leading slash keeps it so.
func NormalPath(p string) string {
	decoded := decodePath(p)
	if decoded == "" {
		return ""
	}
	rooted := decoded[0] == '/'
	var out []string
	segments := strings.Split(decoded, "/")
	trailing := false
	for _, s := range segments {
		trailing = false
		switch s {
		case "":
			trailing = true
		case ".":
			trailing = true
		case "..":
			trailing = true
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
		}
	}
	joined := strings.Join(out, "/")
	if rooted {
		joined = "/" + joined
	}
	if trailing && joined != "/" && joined != "" {
		joined += "/"
	}
	return joined
}

// decodePath decodes what means the same undecoded.
func decodePath(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var b strings.Builder
	b.Grow(len(p))
	for i := 0; i < len(p); i++ {
		if p[i] != '%' || i+2 >= len(p) {
			b.WriteByte(p[i])
			continue
		}
		hi, ok1 := unhex(p[i+1])
		lo, ok2 := unhex(p[i+2])
		if !ok1 || !ok2 {
			b.WriteByte(p[i])
			continue
		}
		if c := hi<<4 | lo; unreserved(c) || c >= 0x80 {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(p[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func unreserved(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
