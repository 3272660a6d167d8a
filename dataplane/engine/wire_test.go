package engine

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

const (
	wireGet  = "GET /ok/a HTTP/1.1\r\nHost: a\r\n"
	wirePost = "POST /ok/a HTTP/1.1\r\nHost: a\r\n"
	smuggled = "GET /ok/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)

// wire is the corpus of whole connections: the rule (RFC and section), the bytes of a client,
// the statuses it gets, whether the gate then ends the connection, and the first lines that the
// upstream saw. What the upstream sees is what smuggling is about: one request more than
// answers, or one with another body, and two parties have read the same bytes differently.
var wire = []struct {
	name, rule string
	in         string
	answers    string // "200 404"; "H200" is the answer to a HEAD
	ends       bool
	saw        string // joined with ", "
}{
	{"one", "9112 9.3", wireGet + "\r\n", "200", false, "GET /a"},
	{"two at once", "9112 9.3.2", wireGet + "\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"three at once", "9112 9.3.2", wireGet + "\r\n" + wireGet + "\r\n" + smuggled, "200 200 200", false, "GET /a, GET /a, GET /smuggled"},
	{"empty lines between", "9112 2.2", wireGet + "\r\n\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"close", "9112 9.6", wireGet + "Connection: close\r\n\r\n" + smuggled, "200", true, "GET /a"},
	{"close in a list", "9112 9.6", wireGet + "Connection: X, Close\r\n\r\n" + smuggled, "200", true, "GET /a"},
	{"close in a second line", "9110 5.3", wireGet + "Connection: X\r\nConnection: close\r\n\r\n" + smuggled, "200", true, "GET /a"},
	{"close and keep-alive", "9112 9.3", wireGet + "Connection: keep-alive, close\r\n\r\n" + smuggled, "200", true, "GET /a"},
	{"1.0 ends", "9112 9.3", "GET /ok/a HTTP/1.0\r\n\r\n" + smuggled, "200", true, "GET /a"},
	{"1.0 kept", "9112 9.3", "GET /ok/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"proxy-connection means nothing", "9112 C.2.2", "GET /ok/a HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n" + smuggled, "200", true, "GET /a"},

	{"HEAD", "9110 9.3.2", "HEAD /ok/a HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "H200 200", false, "HEAD /a, GET /smuggled"},
	{"HEAD with a body", "9110 9.3.2", "HEAD /ok/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + smuggled, "H200 200", false, "HEAD /a abc, GET /smuggled"},
	{"GET with a body", "9110 9.3.1", wireGet + "Content-Length: 3\r\n\r\nabc" + smuggled, "200 200", false, "GET /a abc, GET /smuggled"},
	{"GET with a request as body", "9112 6.3", wireGet + "Content-Length: 38\r\n\r\n" + smuggled, "200", false, "GET /a " + smuggled},
	{"GET with a chunked body", "9112 7.1", wireGet + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + smuggled, "200 200", false, "GET /a abc, GET /smuggled"},
	{"OPTIONS with a body", "9110 9.3.7", "OPTIONS /ok/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + smuggled, "200 200", false, "OPTIONS /a abc, GET /smuggled"},
	{"POST without a length", "9112 6.3", wirePost + "\r\n" + smuggled, "200 200", false, "POST /a, GET /smuggled"},
	{"POST of nothing", "9112 6.2", wirePost + "Content-Length: 0\r\n\r\n" + smuggled, "200 200", false, "POST /a, GET /smuggled"},
	{"POST with a length", "9112 6.2", wirePost + "Content-Length: 3\r\n\r\nabc" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"line end after a body", "9112 2.2", wirePost + "Content-Length: 3\r\n\r\nabc\r\n" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"length with zeros", "9112 6.2", wirePost + "Content-Length: 0003\r\n\r\nabc" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"body longer than its length", "9112 6.3", wirePost + "Content-Length: 2\r\n\r\nabc" + smuggled, "200 400", true, "POST /a ab"},
	{"chunked", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + smuggled, "200 200", false, "POST /a abcde, GET /smuggled"},
	{"empty chunked", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "200 200", false, "POST /a, GET /smuggled"},
	{"chunk extensions are dropped", "9112 7.1.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n3;x=\"a;b\"\r\nabc\r\n0;y\r\n\r\n" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"trailers are dropped", "9110 6.5.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"trailer that would frame", "9110 6.5.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n" + smuggled, "400", true, ""},
	{"request inside a chunk", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n26\r\n" + smuggled + "\r\n0\r\n\r\n", "200", false, "POST /a " + smuggled},
	{"malformed chunk", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\nz\r\n" + smuggled, "400", true, ""},
	{"chunk with a bare line feed", "9112 2.2", wirePost + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n" + smuggled, "400", true, ""},
	{"chunk longer than its size", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"chunk of 2^64+3", "9112 7.1", wirePost + "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n" + smuggled, "400", true, ""},

	{"CL.TE", "9112 6.1", wirePost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE.CL", "9112 6.1", wirePost + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n26\r\n" + smuggled + "\r\n0\r\n\r\n", "400", true, ""},
	{"CL.CL", "9112 6.3", wirePost + "Content-Length: 0\r\nContent-Length: 38\r\n\r\n" + smuggled, "400", true, ""},
	{"CL, CL", "9112 6.3", wirePost + "Content-Length: 0, 38\r\n\r\n" + smuggled, "400", true, ""},
	{"CL.0", "9112 6.3", wirePost + "Content-Length: 38\r\n\r\n" + smuggled, "200", false, "POST /a " + smuggled},
	{"TE.TE", "9112 6.1", wirePost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + smuggled, "501", true, ""},
	{"TE of another word", "9112 6.1", wirePost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, "501", true, ""},
	{"TE in 1.0", "9112 6.1", "POST /ok/a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE after a space", "9112 5.1", wirePost + "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE folded", "9112 5.2", wirePost + "Content-Length: 5\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE behind a bare carriage return", "9112 2.2", wirePost + "Content-Length: 5\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE behind a bare line feed", "9112 2.2", wirePost + "Content-Length: 5\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", true, ""},
	{"TE spelled with an underscore", "9110 5.1", wirePost + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled, "200 200", false, "POST /a 0\r\n\r\n, GET /smuggled"},
	{"length named by Connection", "9110 7.6.1", wirePost + "Connection: Content-Length\r\nContent-Length: 38\r\n\r\n" + smuggled, "200", false, "POST /a " + smuggled},
	{"coding named by Connection", "9110 7.6.1", wirePost + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "200 200", false, "POST /a, GET /smuggled"},
	{"host named by Connection", "9110 7.6.1", wireGet + "Connection: Host\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},

	{"refused line ends", "9112 3", "get /ok/a HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "400", true, ""},
	{"0.9", "9112 2.3", "GET /ok/a\r\n\r\n" + smuggled, "400", true, ""},
	{"HTTP/2 line without its preface", "9113 3.4", "GET /ok/a HTTP/2.0\r\nHost: a\r\n\r\n" + smuggled, "505", true, ""},
	{"two hosts", "9112 3.2", wireGet + "Host: b\r\n\r\n" + smuggled, "400", true, ""},
	{"CONNECT", "9110 9.3.6", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + smuggled, "405", true, ""},
	{"TRACE", "9110 9.3.8", "TRACE /ok/a HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "405", true, ""},
	{"absolute-form decides", "9112 3.2.2", "GET http://b/ok/a HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"no route", "Kong", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "404 200", false, "GET /smuggled"},
	{"no route, with a body", "Kong", "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n" + smuggled, "404", false, ""},
	{"no route, with a chunked body", "Kong", "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n26\r\n" + smuggled + "\r\n0\r\n\r\n", "404", false, ""},
	{"no route, with a malformed body", "9112 7.1", "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n" + smuggled, "404", true, ""},

	{"upgrade to something else", "9110 7.8", wireGet + "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"upgrade without Connection", "9110 7.8", wireGet + "Upgrade: websocket\r\n\r\n" + smuggled, "200 200", false, "GET /a, GET /smuggled"},
	{"expectation with the body at once", "9110 10.1.1", wirePost + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + smuggled, "200 200", false, "POST /a abc, GET /smuggled"},
	{"expectation in 1.0", "9110 10.1.1", "POST /ok/a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "200", true, "POST /a abc"},
	{"long line", "9112 3", "GET /ok/" + strings.Repeat("u", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "414", true, ""},
	{"long field", "9110 5.4", wireGet + "X: " + strings.Repeat("h", 9000) + "\r\n\r\n" + smuggled, "400", true, ""},
}

func TestWireCorpus(t *testing.T) {
	t.Parallel()
	for _, c := range wire {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t, hello)
			g := startGate(t, u.addr, func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.PreserveHost = true })
			conn, r := g.dial()
			if _, err := io.WriteString(conn, c.in); err != nil {
				t.Fatal(err)
			}
			if got := answersTo(t, r, strings.Fields(c.answers)); got != c.answers {
				t.Fatalf("%s: answers %q, want %q", c.rule, got, c.answers)
			}
			if ended := !probe(t, conn, r); ended != c.ends {
				t.Errorf("%s: connection ended = %v, want %v", c.rule, ended, c.ends)
			}
			if got := firstLines(u.requests()); got != c.saw {
				t.Errorf("%s: the upstream saw %q, want %q", c.rule, got, c.saw)
			}
		})
	}
}

// answersTo reads as many answers as are wanted and returns their statuses.
func answersTo(t *testing.T, r *bufio.Reader, want []string) string {
	t.Helper()
	var got []string
	for _, w := range want {
		method := http.MethodGet
		if strings.HasPrefix(w, "H") {
			method = http.MethodHead
		}
		s := readAnswer(t, r, method).Status[:3]
		if method == http.MethodHead {
			s = "H" + s
		}
		got = append(got, s)
	}
	return strings.Join(got, " ")
}

const probeLine = "GET /ok/probe"

// probe asks once more and reports whether there was an answer, and it alone.
func probe(t *testing.T, c net.Conn, r *bufio.Reader) bool {
	t.Helper()
	if _, err := io.WriteString(c, probeLine+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	answer, err := http.ReadResponse(r, nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Errorf("one more answer than was asked for: %s", answer.Status)
	}
	io.Copy(io.Discard, answer.Body)
	if rest, err := io.ReadAll(r); len(rest) > 0 && err == nil {
		t.Errorf("after the last answer: %q", rest)
	}
	return true
}

// firstLines shows requests as method, path and body, without the probe.
func firstLines(requests []string) string {
	var list []string
	for _, q := range requests {
		line, _, _ := strings.Cut(q, " HTTP/1.1\r\n")
		if line == strings.Replace(probeLine, "/ok", "", 1) {
			continue
		}
		_, body, _ := strings.Cut(q, "\r\n\r\n")
		list = append(list, strings.TrimSuffix(line+" "+body, " "))
	}
	return strings.Join(list, ", ")
}
