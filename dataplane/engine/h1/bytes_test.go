package h1

import (
	"strings"
	"testing"
)

// TestEveryByteEverywhere puts each of the 256 bytes into each part of a head and holds the
// verdict against the grammar: 9110 5.6.2 for names, 5.5 for values, 9112 3 for the first line.
func TestEveryByteEverywhere(t *testing.T) {
	t.Parallel()
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	upper := alnum[26:52] + "-_" // nginx's, narrower than a token
	token := alnum + "!#$%&'*+-.^_`|~"
	visible := func(b byte) bool { return b > 0x20 && b != 0x7f }
	in := func(set string) func(byte) bool { return func(b byte) bool { return strings.IndexByte(set, b) >= 0 } }
	parts := []struct {
		name          string
		before, after string
		ok            func(byte) bool
	}{
		{"method", "G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", in(upper)},
		{"target", "GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", func(b byte) bool { return visible(b) && b != '#' && b != '%' }},
		{"query", "GET /?", "b HTTP/1.1\r\nHost: a\r\n\r\n", func(b byte) bool { return visible(b) && b != '#' }},
		{"major version", "GET / HTTP/", ".1\r\nHost: a\r\n\r\n", in("1")},
		{"minor version", "GET / HTTP/1.", "\r\nHost: a\r\n\r\n", in("0123456789")},
		{"after the version", "GET / HTTP/1.1", "\r\nHost: a\r\n\r\n", in("")},
		{"before a field", get, "X: 1\r\n\r\n", in(token)},
		{"name", get + "X", "Y: 1\r\n\r\n", func(b byte) bool { return in(token)(b) || b == ':' }},
		{"before the colon", get + "X", ": 1\r\n\r\n", func(b byte) bool { return in(token)(b) || b == ':' }},
		{"value", get + "X: a", "b\r\n\r\n", func(b byte) bool { return b == '\t' || b >= 0x20 && b != 0x7f }},
		{"long value", get + "X: aaaaaaaaaaaa", "bbbbbbbbbbbb\r\n\r\n", func(b byte) bool { return b == '\t' || b >= 0x20 && b != 0x7f }},
		{"host", "GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n", func(b byte) bool { return in(alnum + "-._~!$&'()*+,;=%")(b) }},
		{"port", "GET / HTTP/1.1\r\nHost: a:8", "\r\n\r\n", func(b byte) bool { return b-'0' < 10 || b == ' ' || b == '\t' }},
		{"length", post + "Content-Length: 1", "\r\n\r\n", func(b byte) bool { return b-'0' < 10 || b == ' ' || b == '\t' }},
		{"coding", post + "Transfer-Encoding: chunked", "\r\n\r\n", in(" \t")},
		{"end of a line", get + "X: 1\r", "\r\n", in("\n")},
	}
	for _, p := range parts {
		for b := range 256 {
			h, _, err := parse(p.before + string([]byte{byte(b)}) + p.after)
			if got := err == nil && h != nil; got != p.ok(byte(b)) {
				t.Errorf("%#02x as %s: accepted = %v (%v), want %v", b, p.name, got, err, p.ok(byte(b)))
			}
		}
	}
}

// TestEveryByteInAChunk does the same for the framing of chunks (9112 7.1).
func TestEveryByteInAChunk(t *testing.T) {
	t.Parallel()
	hex := "0123456789abcdefABCDEF"
	parts := []struct {
		name, before, after string
		ok                  string
	}{
		{"second digit", "0", "\r\n\r\n", "0;"}, // a size of more waits for its data
		{"before the size", "", "0\r\n\r\n", hex[:1]},
		{"after the size line's carriage return", "1\r", "a\r\n0\r\n\r\n", "\n"},
		{"after the data", "1\r\na", "\n0\r\n\r\n", "\r"},
		{"between data and the next size", "1\r\na\r", "0\r\n\r\n", "\n"},
		{"last carriage return", "0\r\n", "\n", "\r"},
		{"last line feed", "0\r\n\r", "", "\n"},
	}
	for _, p := range parts {
		for b := range 256 {
			in := p.before + string([]byte{byte(b)}) + p.after
			_, done, err := decodeAll(in, len(in))
			if got := err == nil && done; got != (strings.IndexByte(p.ok, byte(b)) >= 0) {
				t.Errorf("%#02x as %s: decoded = %v (%v)", b, p.name, got, err)
			}
		}
	}
}
