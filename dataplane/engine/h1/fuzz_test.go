package h1

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// FuzzRequest holds the parser against net/http: what is accepted here must be accepted there
// and mean the same.
func FuzzRequest(f *testing.F) {
	for _, c := range requests {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		h, fields, err := parse(in)
		if err != nil || h == nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimLeft(in, "\r\n"))))
		if err != nil {
			if strings.Contains(h.Target, "%") || !isASCII(h.Target) || strings.Contains(err.Error(), "invalid port") ||
				strings.Contains(err.Error(), "host") || strings.Contains(err.Error(), "first path segment") {
				return // net/http also parses URLs, with rules of its own
			}
			t.Fatalf("accepted, but net/http says %v", err)
		}
		if r.Method != h.Method || r.RequestURI != h.Target {
			t.Fatalf("method and target = %q %q, net/http %q %q", h.Method, h.Target, r.Method, r.RequestURI)
		}
		chunked := len(r.TransferEncoding) > 0
		length := max(h.Length, 0)
		if chunked {
			length = -1
		}
		if chunked != h.Chunked || r.ContentLength != length {
			t.Fatalf("framing = %v %d, net/http %v %d", h.Chunked, h.Length, r.TransferEncoding, r.ContentLength)
		}
		for _, l := range fields.Fields() {
			if !ValidName(l.Name) || !clean([]byte(l.Value)) {
				t.Fatalf("accepted field %q: %q", l.Name, l.Value)
			}
		}
	})
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// FuzzResponse holds the parser of answers against net/http.
func FuzzResponse(f *testing.F) {
	for _, c := range responses {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var h Head
		var fields plugin.Header
		end, _, err := ResponseLimits.Scan([]byte(in), 0)
		if err != nil || end == 0 || h.ParseResponse([]byte(in)[:end], ResponseLimits.Fields, &fields) != nil {
			return
		}
		r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(in)), &http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("accepted, but net/http says %v", err)
		}
		if r.StatusCode != h.Status {
			t.Fatalf("status = %d, net/http %d", h.Status, r.StatusCode)
		}
		if h.Chunked != (len(r.TransferEncoding) > 0) && !Bodyless("GET", h.Status) {
			t.Fatalf("chunked = %v, net/http %v", h.Chunked, r.TransferEncoding)
		}
	})
}

// FuzzChunks decodes at every split point alike, and what it accepts net/http decodes to the
// same bytes.
func FuzzChunks(f *testing.F) {
	for _, c := range bodies {
		f.Add(c.in, 3)
	}
	f.Fuzz(func(t *testing.T, in string, step int) {
		step = max(1, min(step, len(in)))
		whole, done, err := decodeAll(in, max(len(in), 1))
		parts, done2, err2 := decodeAll(in, step)
		if whole != parts || done != done2 || (err == nil) != (err2 == nil) {
			t.Fatalf("by %d: %q %v %v, at once: %q %v %v", step, parts, done2, err2, whole, done, err)
		}
		if !done || strings.Contains(in, ";") {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(in)))
		if err != nil || string(theirs) != whole {
			t.Fatalf("%q, net/http %q, %v", whole, theirs, err)
		}
	})
}
