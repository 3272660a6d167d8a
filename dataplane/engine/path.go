package engine

import "strings"

// UpstreamPath is Kong's v0 algorithm: where a request for path goes at a service with a path
// of its own, when a route matched prefix of it ("" when it has no paths). It appends the result to dst, unless the result is
// path itself or a part of it: then copied is false and it is the first return value.
// The result is not escaped yet.
func UpstreamPath(dst []byte, service, prefix, path string, strip bool) (whole string, out []byte, copied bool) {
	if service == "" {
		service = "/"
	}
	if path == "" {
		path = "/"
	}
	rest := path
	if strip && prefix != "" {
		rest = stripped(path, prefix)
	} else {
		strip = false
	}
	slash := service[len(service)-1] == '/'
	switch {
	case !strip && slash:
		if service == "/" {
			return path, dst, false
		}
		return "", append(append(dst, service...), strings.TrimPrefix(path, "/")...), true
	case !strip:
		if path == "/" {
			path = ""
		}
		return "", append(append(dst, service...), path...), true
	}
	head, trailing := service, path[len(path)-1] == '/'
	switch {
	case rest == "" && service == "/":
		return "/", dst, false
	case rest == "" && slash && !trailing:
		head = service[:len(service)-1]
	case rest == "" && !slash && trailing && len(path) > 1:
		rest = "/"
	case rest == "":
	case rest[0] == '/' && service == "/":
		return rest, dst, false
	case rest[0] == '/' && slash:
		head = service[:len(service)-1]
	case rest[0] != '/' && !slash:
		dst = append(append(dst, service...), '/')
		return "", append(dst, rest...), true
	}
	return "", append(append(dst, head...), rest...), true
}

// stripped is path without prefix; what would then read as a dot segment is taken away.
func stripped(path, prefix string) string {
	rest := path[min(len(prefix), len(path)):]
	switch {
	case rest == "." || rest == "..":
		return ""
	case strings.HasPrefix(rest, "./"):
		return rest[1:]
	case strings.HasPrefix(rest, "../"):
		return rest[2:]
	}
	return rest
}

// plain are the bytes that a path keeps as they are on its way upstream.
var plain [256]bool

func init() {
	for c := 'a'; c <= 'z'; c++ {
		plain[c], plain[c-0x20] = true, true
	}
	for _, c := range "0123456789-_.~%!#$&'()*+,/:;=?@[]" {
		plain[c] = true
	}
}

// appendPath appends a path escaped.
func appendPath(dst []byte, path string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(path); i++ {
		if c := path[i]; plain[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// appendQuery appends a query. It goes as it came; only what would end the line is escaped,
// which a filter may have put there.
func appendQuery(dst []byte, q string) []byte {
	for i := 0; i < len(q); i++ {
		if c := q[i]; c > 0x20 && c != 0x7f {
			dst = append(dst, c)
		} else {
			const hex = "0123456789ABCDEF"
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
