package h1

import (
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// refusal is a verdict on bytes; nil accepts.
type refusal = *Error

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n"
	post = "POST / HTTP/1.1\r\nHost: a\r\n"
)

// requests is the corpus of request heads: what each is, the rule it tests, the bytes, the
// verdict.
var requests = []struct {
	name string
	rule string
	in   string
	want refusal
}{
	{"plain", "9112 3", get + "\r\n", nil},
	{"no fields in 1.0", "9112 3.2", "GET / HTTP/1.0\r\n\r\n", nil},
	{"higher minor", "9110 2.5", "GET / HTTP/1.7\r\nHost: a\r\n\r\n", nil},
	{"leading empty lines", "9112 2.2", "\r\n\r\n" + get + "\r\n", nil},
	{"too many leading empty lines", "9112 2.2", strings.Repeat("\r\n", 20) + get + "\r\n", ErrLine},
	{"leading bare line feed", "9112 2.2", "\n" + get + "\r\n", ErrBareLF},
	{"leading space", "9112 3", " " + get + "\r\n", ErrMethod},
	{"bare line feed after request line", "9112 2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n", ErrBareLF},
	{"bare line feed after field", "9112 2.2", "GET / HTTP/1.1\r\nHost: a\n\r\n", ErrBareLF},
	{"bare line feed as end", "9112 2.2", get + "\n", ErrBareLF},
	{"bare carriage return in request line", "9112 2.2", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"bare carriage return in value", "9112 2.2", get + "X: a\rb\r\n\r\n", ErrField},
	{"bare carriage return before field", "9112 2.2", get + "\rX: a\r\n\r\n", ErrField},
	{"carriage return in name", "9112 2.2", get + "X\r: a\r\n\r\n", ErrField},

	{"lower-case method", "nginx", "get / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"mixed-case method", "nginx", "Get / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"extension method", "9110 9.1", "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"digits in method", "nginx", "GET1 / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"empty method", "9112 3.1", " / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"NUL in method", "9112 3.1", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"tab after method", "9112 3", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", ErrMethod},
	{"two spaces after method", "9112 3", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"TRACE", "9110 9.3.8", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", ErrForbidden},
	{"CONNECT", "9112 3.2.3", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ErrForbidden},
	{"TLS hello", "9112 3", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", ErrMethod},

	{"no target", "9112 3.2", "GET HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"version 0.9", "9112 3", "GET /\r\n\r\n", ErrTarget},
	{"space in target", "9112 3.2", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", ErrLine},
	{"NUL in target", "9112 3.2", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"DEL in target", "9112 3.2", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"tab in target", "9112 3.2", "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"fragment", "9112 3.2", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"UTF-8 target", "Kong", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"relative target", "9112 3.2", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"asterisk", "9112 3.2.4, nginx", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"asterisk with GET", "9112 3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"absolute", "9112 3.2.2", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"absolute in upper case", "9112 3.2.2", "GET HTTP://b/x HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"absolute https", "9112 3.2.2", "GET https://b HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"absolute with query only", "9112 3.2.2", "GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"absolute without host", "9110 4.2.1", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", ErrHost},
	{"absolute with user", "9110 4.2.4", "GET http://u@b/x HTTP/1.1\r\nHost: a\r\n\r\n", ErrHost},
	{"absolute other scheme", "9112 3.2.2", "GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"absolute still needs host", "9112 3.2", "GET http://b/x HTTP/1.1\r\n\r\n", ErrHost},
	{"authority-form", "9112 3.2.3", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"broken escape", "3986 2.1", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"cut escape", "3986 2.1", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"cut escape of one digit", "3986 2.1", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"escaped NUL", "nginx", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"broken escape in query", "nginx", "GET /?%zz HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"climbs above root", "nginx", "GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"climbs at once", "nginx", "GET /.. HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"climbs escaped", "nginx", "GET /%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"climbs over escaped slash", "nginx", "GET /a%2f..%2f..%2fb HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
	{"dots inside", "nginx", "GET /a/b/../c HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"dots in name", "nginx", "GET /a..b HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"three dots", "nginx", "GET /... HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"slashes do not count", "nginx", "GET //../a HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},

	{"version 2", "9112 2.3", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", ErrVersion},
	{"version 9.9", "9112 2.3", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", ErrVersion},
	{"version of one number", "9112 2.3", "GET / HTTP/1\r\nHost: a\r\n\r\n", ErrLine},
	{"version of two digits", "9112 2.3", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", ErrLine},
	{"lower-case version", "9112 2.3", "GET / http/1.1\r\nHost: a\r\n\r\n", ErrLine},
	{"space after version", "9112 3", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", ErrLine},
	{"other protocol", "9112 2.3", "GET / ICAP/1.0\r\nHost: a\r\n\r\n", ErrLine},
	{"no number", "9112 2.3", "GET / HTTP/x.y\r\nHost: a\r\n\r\n", ErrLine},

	{"no host", "9112 3.2", "GET / HTTP/1.1\r\n\r\n", ErrHost},
	{"two hosts", "9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", ErrHost},
	{"two equal hosts", "9112 3.2", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", ErrHost},
	{"two hosts in 1.0", "9112 3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", ErrHost},
	{"empty host", "9112 3.2", "GET / HTTP/1.1\r\nHost:\r\n\r\n", ErrHost},
	{"space in host", "9110 7.2", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ErrHost},
	{"slash in host", "9110 7.2", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ErrHost},
	{"user in host", "9110 7.2", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", ErrHost},
	{"comma-joined hosts", "9110 7.2", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", ErrHost},
	{"host with port", "9110 7.2", "GET / HTTP/1.1\r\nHost: a:8080\r\n\r\n", nil},
	{"host with empty port", "3986 3.2.3", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", nil},
	{"host with bad port", "9110 7.2", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", ErrHost},
	{"host with long port", "9110 7.2", "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", ErrHost},
	{"IPv6 host", "9110 7.2", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", nil},
	{"unclosed IPv6 host", "9110 7.2", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", ErrHost},
	{"text after IPv6 host", "9110 7.2", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", ErrHost},
	{"empty brackets", "9110 7.2", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", ErrHost},
	{"bytes above ASCII in host", "9110 7.2", "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", ErrHost},

	{"folded line", "9112 5.2", get + "X: a\r\n b\r\n\r\n", ErrField},
	{"folded line by tab", "9112 5.2", get + "X: a\r\n\tb\r\n\r\n", ErrField},
	{"space before first field", "9112 2.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", ErrField},
	{"space before colon", "9112 5.1", get + "X : a\r\n\r\n", ErrField},
	{"tab before colon", "9112 5.1", get + "X\t: a\r\n\r\n", ErrField},
	{"no colon", "9112 5", get + "X\r\n\r\n", ErrField},
	{"empty name", "9112 5", get + ": a\r\n\r\n", ErrField},
	{"space in name", "9110 5.1", get + "X A: 1\r\n\r\n", ErrField},
	{"NUL in name", "9110 5.1", get + "X\x00: 1\r\n\r\n", ErrField},
	{"colon in front", "9110 5.1", get + ":path: /\r\n\r\n", ErrField},
	{"bytes above ASCII in name", "9110 5.1", get + "\xc3\xa9: 1\r\n\r\n", ErrField},
	{"underscore in name", "9110 5.1", get + "X_A: 1\r\n\r\n", nil},
	{"NUL in value", "9110 5.5", get + "X: a\x00b\r\n\r\n", ErrField},
	{"escape in value", "9110 5.5", get + "X: \x1b[0m\r\n\r\n", ErrField},
	{"DEL in value", "9110 5.5", get + "X: aaaaaaaaaaaaa\x7f\r\n\r\n", ErrField},
	{"vertical tab in value", "9110 5.5", get + "X: a\x0bb\r\n\r\n", ErrField},
	{"tab in value", "9110 5.5", get + "X: a\tb\r\n\r\n", nil},
	{"Latin-1 value", "9110 5.5", get + "X: \xe9\r\n\r\n", nil},
	{"empty value", "9110 5.5", get + "X:\r\n\r\n", nil},
	{"value without space", "9112 5", get + "X:1\r\n\r\n", nil},

	{"length", "9112 6.2", post + "Content-Length: 3\r\n\r\n", nil},
	{"length with zeros", "9112 6.2", post + "Content-Length: 003\r\n\r\n", nil},
	{"empty length", "9112 6.2", post + "Content-Length:\r\n\r\n", ErrLength},
	{"word as length", "9112 6.2", post + "Content-Length: x\r\n\r\n", ErrLength},
	{"negative length", "9112 6.2", post + "Content-Length: -1\r\n\r\n", ErrLength},
	{"signed length", "9112 6.2", post + "Content-Length: +3\r\n\r\n", ErrLength},
	{"hexadecimal length", "9112 6.2", post + "Content-Length: 0x3\r\n\r\n", ErrLength},
	{"length with fraction", "9112 6.2", post + "Content-Length: 3.0\r\n\r\n", ErrLength},
	{"length with space inside", "9112 6.2", post + "Content-Length: 1 2\r\n\r\n", ErrLength},
	{"length that overflows", "9112 6.2", post + "Content-Length: 18446744073709551619\r\n\r\n", ErrLength},
	{"two unequal lengths", "9112 6.3", post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n", ErrLength},
	{"two equal lengths", "9112 6.3, nginx", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", ErrLength},
	{"list of lengths", "9112 6.3", post + "Content-Length: 3, 3\r\n\r\n", ErrLength},
	{"length in other case twice", "9112 6.3", post + "content-length: 3\r\nCONTENT-LENGTH: 4\r\n\r\n", ErrLength},
	{"chunked", "9112 6.1", post + "Transfer-Encoding: chunked\r\n\r\n", nil},
	{"chunked in upper case", "9112 7", post + "Transfer-Encoding: Chunked\r\n\r\n", nil},
	{"length before chunked", "9112 6.1", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
	{"length after chunked", "9112 6.1", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", ErrFraming},
	{"chunked twice", "9112 6.1", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
	{"chunked twice in a list", "9112 6.1", post + "Transfer-Encoding: chunked, chunked\r\n\r\n", ErrCoding},
	{"chunked in 1.0", "9112 6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ErrFraming},
	{"identity", "9112 6.1", post + "Transfer-Encoding: identity\r\n\r\n", ErrCoding},
	{"gzip", "9112 6.1", post + "Transfer-Encoding: gzip\r\n\r\n", ErrCoding},
	{"gzip then chunked", "9112 6.1", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", ErrCoding},
	{"chunked then identity", "9112 6.1", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", ErrCoding},
	{"unknown coding", "9112 6.1", post + "Transfer-Encoding: xchunked\r\n\r\n", ErrCoding},
	{"chunked with parameter", "9112 7", post + "Transfer-Encoding: chunked;q=1\r\n\r\n", ErrCoding},
	{"quoted chunked", "9112 7", post + "Transfer-Encoding: \"chunked\"\r\n\r\n", ErrCoding},
	{"empty coding", "9112 6.1", post + "Transfer-Encoding:\r\n\r\n", ErrCoding},
	{"chunked behind a control byte", "9112 6.1", post + "Transfer-Encoding: \x0bchunked\r\n\r\n", ErrField},
	{"chunked behind a space before the colon", "9112 5.1", post + "Transfer-Encoding : chunked\r\n\r\n", ErrField},
	{"chunked in a folded line", "9112 5.2", post + "Transfer-Encoding:\r\n chunked\r\n\r\n", ErrCoding},
	{"chunked after a bare line feed", "9112 2.2", post + "X: a\nTransfer-Encoding: chunked\r\n\r\n", ErrBareLF},
	{"NUL before chunked", "9110 5.5", post + "Transfer-Encoding: chunked\x00\r\n\r\n", ErrField},

	{"long request line", "9112 3", "GET /" + strings.Repeat("u", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", ErrURITooLong},
	{"long request line without end", "9112 3", "GET /" + strings.Repeat("u", 9000), ErrURITooLong},
	{"long field", "nginx", get + "X: " + strings.Repeat("h", 9000) + "\r\n\r\n", ErrTooLarge},
	{"long field without end", "nginx", get + "X: " + strings.Repeat("h", 9000), ErrTooLarge},
	{"large head", "rulings", get + strings.Repeat("X: "+strings.Repeat("h", 5000)+"\r\n", 14) + "\r\n", ErrTooLarge},
	{"150 fields", "Kong", get + strings.Repeat("X: 1\r\n", 150) + "\r\n", nil},
	{"300 fields", "bound", get + strings.Repeat("X: 1\r\n", 300) + "\r\n", ErrTooLarge},
}

// parse runs the codec over bytes as a connection does.
func parse(in string) (*Head, *plugin.Header, error) {
	b := []byte(in)
	n, err := SkipBlank(b)
	if err != nil {
		return nil, nil, err
	}
	end, _, err := RequestLimits.Scan(b[n:], 0)
	if err != nil {
		return nil, nil, err
	}
	if end == 0 {
		return nil, nil, nil
	}
	var h Head
	var f plugin.Header
	return &h, &f, h.ParseRequest(b[n:n+end], RequestLimits.Fields, &f)
}

func TestRequestCorpus(t *testing.T) {
	t.Parallel()
	for _, c := range requests {
		h, _, err := parse(c.in)
		if c.want == nil {
			if err != nil || h == nil {
				t.Errorf("%s (%s): refused: %v", c.name, c.rule, err)
			}
			continue
		}
		if err != error(c.want) {
			t.Errorf("%s (%s): error = %v, want %v", c.name, c.rule, err, c.want)
		}
	}
	if len(requests) < 100 {
		t.Errorf("corpus has %d cases", len(requests))
	}
}

// responses is the corpus of response heads; "" is their only verdict, a gate answers 502.
var responses = []struct {
	name string
	in   string
	ok   bool
}{
	{"plain", "HTTP/1.1 200 OK\r\n\r\n", true},
	{"no reason", "HTTP/1.1 200 \r\n\r\n", true},
	{"no space either", "HTTP/1.1 200\r\n\r\n", true},
	{"version 1.0", "HTTP/1.0 200 OK\r\n\r\n", true},
	{"status 599", "HTTP/1.1 599 X\r\n\r\n", true},
	{"status of two digits", "HTTP/1.1 99 X\r\n\r\n", false},
	{"status of four digits", "HTTP/1.1 2000 X\r\n\r\n", false},
	{"status below 100", "HTTP/1.1 099 X\r\n\r\n", false},
	{"no status", "HTTP/1.1\r\n\r\nxxxxx", false},
	{"not HTTP", "this is not http\r\n\r\n", false},
	{"ICY", "ICY 200 OK\r\n\r\n", false},
	{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", false},
	{"bare line feeds", "HTTP/1.1 200 OK\n\n", false},
	{"control byte in reason", "HTTP/1.1 200 O\x01K\r\n\r\n", false},
	{"folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", false},
	{"space before colon", "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", false},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false},
	{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	{"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false},
	{"chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	{"NUL in value", "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", false},
	{"carriage return in value", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", false},
}

func TestResponseCorpus(t *testing.T) {
	t.Parallel()
	for _, c := range responses {
		var h Head
		var f plugin.Header
		end, _, err := ResponseLimits.Scan([]byte(c.in), 0)
		if err == nil && end > 0 {
			err = h.ParseResponse([]byte(c.in)[:end], ResponseLimits.Fields, &f)
		}
		if ok := err == nil && end > 0; ok != c.ok {
			t.Errorf("%s: accepted = %v (%v), want %v", c.name, ok, err, c.ok)
		}
	}
}

// bodies is the corpus of chunked bodies.
var bodies = []struct {
	name string
	in   string
	want string
	err  refusal
}{
	{"empty", "0\r\n\r\n", "", nil},
	{"one", "3\r\nabc\r\n0\r\n\r\n", "abc", nil},
	{"two", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", nil},
	{"hexadecimal", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", nil},
	{"leading zeros", "003\r\nabc\r\n0\r\n\r\n", "abc", nil},
	{"extension", "3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc", nil},
	{"quoted extension", "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "abc", nil},
	{"trailer", "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", "abc", nil},
	{"long extension", "3;" + strings.Repeat("x", 300) + "\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"no size", "\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"signed size", "+3\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"negative size", "-3\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"0x size", "0x3\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"space before size", " 3\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"space after size", "3 \r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"size that overflows", "10000000000000003\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"bare line feed after size", "3\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"bare line feed in extension", "3;a\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"carriage return in extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"bare line feed after data", "3\r\nabc\n0\r\n\r\n", "", ErrChunk},
	{"data longer than size", "3\r\nabcd\r\n0\r\n\r\n", "", ErrChunk},
	{"data shorter than size", "4\r\nabc\r\n0\r\n\r\n", "", ErrChunk},
	{"trailer with length", "0\r\nContent-Length: 3\r\n\r\n", "", ErrTrailer},
	{"trailer with coding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "", ErrTrailer},
	{"trailer with host", "0\r\nHost: a\r\n\r\n", "", ErrTrailer},
	{"trailer with credentials", "0\r\nAuthorization: x\r\n\r\n", "", ErrTrailer},
	{"trailer with NUL", "0\r\nX: \x00\r\n\r\n", "", ErrTrailer},
	{"trailer folded", "0\r\nX: a\r\n b\r\n\r\n", "", ErrTrailer},
	{"trailer with bare line feed", "0\r\nX: a\n\r\n", "", ErrTrailer},
	{"trailer too long", "0\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", "", ErrTrailer},
	{"trailer with space before colon", "0\r\nX : a\r\n\r\n", "", ErrTrailer},
}

func decodeAll(in string, step int) (string, bool, error) {
	var c Chunks
	var out []byte
	b := []byte(in)
	for len(b) > 0 && !c.Done() {
		part := append([]byte(nil), b[:min(step, len(b))]...)
		data, used, err := c.Decode(part)
		out = append(out, part[:data]...)
		b = b[used:]
		if err != nil {
			return string(out), false, err
		}
	}
	return string(out), c.Done(), nil
}

func TestChunkCorpusAtEverySplit(t *testing.T) {
	t.Parallel()
	for _, c := range bodies {
		for step := 1; step <= min(len(c.in), 40); step++ {
			got, done, err := decodeAll(c.in, step)
			if c.err == nil {
				if err != nil || !done || got != c.want {
					t.Errorf("%s by %d: %q, %v, %v, want %q", c.name, step, got, done, err, c.want)
				}
			} else if err != error(c.err) {
				t.Errorf("%s by %d: error = %v, want %v", c.name, step, err, c.err)
			}
		}
	}
}
