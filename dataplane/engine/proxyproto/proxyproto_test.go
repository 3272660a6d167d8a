package proxyproto

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

const (
	four = signature + "\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x00\x00\x01\x11\xd7\x00\x50"
	six  = signature + "\x21\x21\x00\x24\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x11\xd7\x00\x50"
)

func TestRead(t *testing.T) {
	t.Parallel()
	const sent4, sent6 = "10.1.2.3:4567 10.0.0.1:80", "[fd00::1]:4567 [fd00::2]:80"
	for _, c := range []struct{ name, head, want string }{
		{"v1", "PROXY TCP4 10.1.2.3 10.0.0.1 4567 80\r\n", sent4},
		{"v1 over IPv6", "PROXY TCP6 fd00::1 fd00::2 4567 80\r\n", sent6},
		{"v1, mapped", "PROXY TCP6 ::ffff:10.1.2.3 ::ffff:10.0.0.1 4567 80\r\n", sent4},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "none"},
		{"v1 unknown with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "none"},
		{"v1, the longest", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", "none"},
		{"v2", four, sent4},
		{"v2 over IPv6", six, sent6},
		{"v2 with more", strings.Replace(four, "\x00\x0c", "\x00\x10", 1) + "\x04\x00\x01x", sent4},
		{"v2 local", signature + "\x20\x00\x00\x00", "none"},
		{"v2 local with addresses", strings.Replace(four, "\x21\x11", "\x20\x11", 1), "none"},
		{"v2 unix", signature + "\x21\x31\x00\x03abc", "none"},

		{"http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaa", "refused"},
		{"lower case", "proxy TCP4 10.1.2.3 10.0.0.1 4567 80\r\n", "refused"},
		{"bare LF", "PROXY TCP4 10.1.2.3 10.0.0.1 4567 80\n", "refused"},
		{"CR inside", "PROXY TCP4 10.1.2.3 10.0.0.1 4567\r80\r\n", "refused"},
		{"two spaces", "PROXY TCP4  10.1.2.3 10.0.0.1 4567 80\r\n", "refused"},
		{"one address", "PROXY TCP4 10.1.2.3 4567 80\r\n", "refused"},
		{"another family", "PROXY TCP4 fd00::1 fd00::2 4567 80\r\n", "refused"},
		{"a zone", "PROXY TCP6 fe80::1%eth0 fd00::2 4567 80\r\n", "refused"},
		{"port too large", "PROXY TCP4 10.1.2.3 10.0.0.1 65536 80\r\n", "refused"},
		{"port with a sign", "PROXY TCP4 10.1.2.3 10.0.0.1 +1 80\r\n", "refused"},
		{"port with a zero", "PROXY TCP4 10.1.2.3 10.0.0.1 080 80\r\n", "refused"},
		{"no port", "PROXY TCP4 10.1.2.3 10.0.0.1 80 \r\n", "refused"},
		{"too long", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", "refused"},
		{"never ends", "PROXY TCP4 " + strings.Repeat("1", 1000), "refused"},
		{"v2, version 1", strings.Replace(four, "\x21\x11", "\x11\x11", 1), "refused"},
		{"v2, unknown command", strings.Replace(four, "\x21\x11", "\x22\x11", 1), "refused"},
		{"v2, too few bytes", signature + "\x21\x11\x00\x0b" + strings.Repeat("x", 11), "refused"},
		{"v2, too many bytes", signature + "\x21\x11\xff\xff" + strings.Repeat("x", 65535), "refused"},
	} {
		r := strings.NewReader(c.head + "GET")
		h, err := Read(r)
		got := h.Source.String() + " " + h.Destination.String()
		switch {
		case errors.Is(err, ErrMalformed):
			got = "refused"
		case err != nil:
			got = err.Error()
		case !h.Source.IsValid():
			got = "none"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
			continue
		}
		if rest, _ := io.ReadAll(r); got != "refused" && string(rest) != "GET" {
			t.Errorf("%s: %q is left, want GET", c.name, rest)
		}
	}
	for _, whole := range []string{four, "PROXY TCP4 10.1.2.3 10.0.0.1 4567 80\r\n"} {
		for n := range len(whole) {
			if _, err := Read(strings.NewReader(whole[:n])); err == nil {
				t.Errorf("the first %d bytes of %q are a header", n, whole)
			}
		}
	}
}

// FuzzRead wants no panic, no read past the end, and bounded memory.
func FuzzRead(f *testing.F) {
	f.Add([]byte(four + "x"))
	f.Add([]byte(six))
	f.Add([]byte("PROXY TCP4 10.1.2.3 10.0.0.1 4567 80\r\nx"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := Read(r)
		if read := len(b) - r.Len(); read > 16+longest2 {
			t.Fatalf("%d bytes were read", read)
		}
		if err == nil && h.Source.IsValid() != h.Destination.IsValid() {
			t.Fatalf("half a header: %+v", h)
		}
	})
}
