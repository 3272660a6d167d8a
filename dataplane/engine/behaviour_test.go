package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

const getOK = "GET /ok HTTP/1.1\r\nHost: gw.test\r\n"

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(_ int, head, _ string) string {
		switch {
		case strings.HasPrefix(head, "GET /close"):
			return ""
		case strings.HasPrefix(head, "GET /garbage"):
			return "this is not http\r\n\r\n"
		case strings.HasPrefix(head, "GET /huge"):
			return "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("h", 100000) + "\r\n\r\n"
		case strings.HasPrefix(head, "GET /switch"):
			return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
		}
		return hello(0, "", "")
	})
	g := startGate(t, up.addr)
	plain := "text/plain; charset=utf-8"
	for _, c := range []struct {
		name, raw   string
		status      int
		reason      string
		contentType string
		body        string // ID stands for the request's
	}{
		{"no route", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, "Not Found", "application/json; charset=utf-8",
			"{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"ID\"\n}"},
		{"no route, html", "GET /none HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", 404, "Not Found", "text/html; charset=utf-8",
			"<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  <body>\n" +
				"    <h1>Error</h1>\n    <p>no Route matched with those values.</p>\n    <p>request_id: ID</p>\n  </body>\n</html>\n"},
		{"no route, xml", "GET /none HTTP/1.1\r\nHost: a\r\nAccept: application/xml\r\n\r\n", 404, "Not Found", "application/xml; charset=utf-8",
			"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>no Route matched with those values</message>\n  <requestid>ID</requestid>\n</error>\n"},
		{"closed", "GET /ok/close HTTP/1.1\r\nHost: a\r\n\r\n", 502, "Bad Gateway", plain,
			"An invalid response was received from the upstream server\nrequest_id: ID\n"},
		{"closed, by content type", "GET /ok/close HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n", 502, "Bad Gateway",
			"application/json; charset=utf-8", "{\n  \"message\":\"An invalid response was received from the upstream server\",\n  \"request_id\":\"ID\"\n}"},
		{"garbage", "GET /ok/garbage HTTP/1.1\r\nHost: a\r\n\r\n", 502, "Bad Gateway", plain, "An invalid response was received from the upstream server\nrequest_id: ID\n"},
		{"huge head", "GET /ok/huge HTTP/1.1\r\nHost: a\r\n\r\n", 502, "Bad Gateway", plain, "An invalid response was received from the upstream server\nrequest_id: ID\n"},
		{"unasked 101", "GET /ok/switch HTTP/1.1\r\nHost: a\r\n\r\n", 502, "Bad Gateway", plain, "An invalid response was received from the upstream server\nrequest_id: ID\n"},
		{"bad host", "GET /ok HTTP/1.1\r\nHost: a b\r\nAccept: application/json\r\n\r\n", 400, "Bad Request", plain, "Bad request\nrequest_id: ID\n"},
		{"long line", "GET /" + strings.Repeat("u", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "Request-URI Too Large", plain, "URI too long\nrequest_id: ID\n"},
		{"long field", getOK + "X: " + strings.Repeat("h", 9000) + "\r\n\r\n", 400, "Bad Request", plain, "Request header or cookie too large\nrequest_id: ID\n"},
		{"trace", "TRACE /ok HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Not Allowed", plain, "Method not allowed\nrequest_id: ID\n"},
		{"coding", "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n", 501, "Not Implemented", "text/html; charset=UTF-8",
			"<html>\r\n<head><title>501 Not Implemented</title></head>\r\n<body>\r\n<center><h1>501 Not Implemented</h1></center>\r\n</body>\r\n</html>\r\n"},
		{"version", "GET /ok HTTP/9.9\r\nHost: a\r\n\r\n", 505, "HTTP Version Not Supported", "text/html; charset=UTF-8",
			"<html>\r\n<head><title>505 HTTP Version Not Supported</title></head>\r\n<body>\r\n<center><h1>505 HTTP Version Not Supported</h1></center>\r\n</body>\r\n</html>\r\n"},
		{"bad chunk", "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "Bad Request", plain, "Bad request\nrequest_id: ID\n"},
		{"head", "HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, "Not Found", "application/json; charset=utf-8", ""},
	} {
		r := g.send(c.raw)
		id := r.Header.Get("X-Kong-Request-Id")
		if r.StatusCode != c.status || strings.TrimPrefix(r.Status, fmt.Sprint(c.status, " ")) != c.reason {
			t.Errorf("%s: status = %q, want %d %s", c.name, r.Status, c.status, c.reason)
		}
		if got := r.Header.Get("Content-Type"); got != c.contentType {
			t.Errorf("%s: content type = %q, want %q", c.name, got, c.contentType)
		}
		if got, want := bodyOf(r), strings.ReplaceAll(c.body, "ID", id); got != want {
			t.Errorf("%s: body = %q, want %q", c.name, got, want)
		}
		proxied := c.status == 502
		if (r.Header.Get("Via") != "") != proxied || (r.Header.Get("X-Kong-Upstream-Latency") != "") != proxied ||
			(r.Header.Get("X-Kong-Response-Latency") != "") == proxied || r.Header.Get("Server") != "kong/3.9.1" {
			t.Errorf("%s: marks = %v", c.name, r.Header)
		}
	}
}

func TestHeadAnswersTellLength(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(int, string, string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" })
	g := startGate(t, up.addr)
	c, r := g.dial()
	for range 2 {
		io.WriteString(c, "HEAD /ok HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := readAnswer(t, r, "HEAD"); a.ContentLength != 42 || a.StatusCode != 200 {
			t.Errorf("answer = %d %d", a.StatusCode, a.ContentLength)
		}
	}
}

func TestPipelinedRequestsKeepOrder(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(_ int, head, body string) string {
		s := strings.Fields(head)[1] + body
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s), s)
	})
	g := startGate(t, up.addr)
	c, r := g.dial()
	io.WriteString(c, "GET /ok/1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /ok/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+
		"POST /ok/3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\ndef\r\n0\r\n\r\nGET /ok/4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	for _, want := range []string{"/1", "/2abc", "/3def", "/4"} {
		if got := bodyOf(readAnswer(t, r, "GET")); got != want {
			t.Errorf("answer = %q, want %q", got, want)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
	if n := up.conns(); n != 1 {
		t.Errorf("upstream connections = %d, want 1", n)
	}
}

func TestSmallChunkedBodyGetsLength(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	for _, buffered := range []bool{true, false} {
		g := startGate(t, up.addr, func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.RequestBuffering = buffered })
		g.send("POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
		seen := up.requests()
		got := seen[len(seen)-1]
		want := "Content-Length: 3\r\n"
		end := "\r\n\r\nabc"
		if !buffered {
			want, end = "Transfer-Encoding: chunked\r\n", "\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
		}
		if !strings.Contains(got, want) || !strings.HasSuffix(got, end) || strings.Contains(got, "X-T") {
			t.Errorf("buffered %v: upstream saw %q", buffered, got)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(_ int, _, body string) string {
		if strings.HasSuffix(body, "0\r\n\r\n") {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", 3<<20, strings.Repeat("y", 3<<20))
		}
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	g := startGate(t, up.addr)
	body := strings.Repeat("0123456789", 300000)
	for range 2 {
		if got := bodyOf(g.send(fmt.Sprintf("POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body))); got != body {
			t.Fatalf("echo of %d bytes, want %d", len(got), len(body))
		}
	}
	got := bodyOf(g.send(fmt.Sprintf("POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)))
	if len(got) != 3<<20 || strings.Trim(got, "y") != "" {
		t.Errorf("answer of %d bytes", len(got))
	}
}

func TestContinueIsAnsweredByTheGate(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	for _, buffered := range []bool{true, false} {
		g := startGate(t, up.addr, func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.RequestBuffering = buffered })
		c, r := g.dial()
		io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		if line, _ := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("line = %q", line)
		}
		r.ReadString('\n')
		io.WriteString(c, "hi")
		if a := readAnswer(t, r, "POST"); a.StatusCode != 200 {
			t.Errorf("status = %d", a.StatusCode)
		}
		seen := up.requests()
		if got := seen[len(seen)-1]; strings.Contains(got, "Expect") || !strings.HasSuffix(got, "\r\n\r\nhi") {
			t.Errorf("upstream saw %q", got)
		}
	}
}

func TestRefusedExpectationGetsNoContinue(t *testing.T) {
	t.Parallel()
	g := startGate(t, "")
	r := g.send("POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	if r.StatusCode != 404 || !r.Close {
		t.Errorf("answer = %d, close %v", r.StatusCode, r.Close)
	}
}

func TestInformationalAnswersAreForwarded(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(int, string, string) string {
		return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + hello(0, "", "")
	})
	g := startGate(t, up.addr)
	c, r := g.dial()
	io.WriteString(c, getOK+"\r\n")
	if line, _ := r.ReadString('\n'); line != "HTTP/1.1 103 Early Hints\r\n" {
		t.Fatalf("line = %q", line)
	}
	if line, _ := r.ReadString('\n'); line != "Link: </a>\r\n" {
		t.Errorf("line = %q", line)
	}
	r.ReadString('\n')
	if a := readAnswer(t, r, "GET"); bodyOf(a) != "hello" || a.Header.Get("Link") != "" {
		t.Errorf("answer = %v", a.Header)
	}
	if got := bodyOf(g.send("GET /ok HTTP/1.0\r\n\r\n")); got != "hello" {
		t.Errorf("1.0 answer = %q", got)
	}
}

func TestVersion10(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(_ int, head, _ string) string {
		if strings.HasPrefix(head, "GET /c") {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
		}
		return hello(0, "", "")
	})
	g := startGate(t, up.addr)
	c, r := g.dial()
	for range 2 {
		io.WriteString(c, "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if a := readAnswer(t, r, "GET"); bodyOf(a) != "hello" || a.Header.Get("Connection") != "keep-alive" {
			t.Errorf("answer = %v", a.Header)
		}
	}
	io.WriteString(c, "GET /ok/c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	a := readAnswer(t, r, "GET")
	if bodyOf(a) != "ab" || len(a.TransferEncoding) > 0 || !a.Close {
		t.Errorf("answer = %v %v", a.Header, a.TransferEncoding)
	}
	if !strings.Contains(up.requests()[0], "X-Forwarded-Host: kong\r\n") || !strings.Contains(up.requests()[0], "Via: 1 kong/3.9.1\r\n") {
		t.Errorf("upstream saw %q", up.requests()[0])
	}
}

func TestAnswerUntilCloseIsChunked(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		readRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nuntil ")
		io.WriteString(c, "close")
	})
	g := startGate(t, u.addr)
	r := g.send(getOK + "\r\n")
	if bodyOf(r) != "until close" || len(r.TransferEncoding) != 1 {
		t.Errorf("answer = %v", r.TransferEncoding)
	}
}

func TestTrailersReachWhoAsksForThem(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(int, string, string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
	})
	g := startGate(t, up.addr)
	for te, want := range map[string]bool{"": false, "TE: trailers\r\n": true} {
		c, r := g.dial()
		fmt.Fprintf(c, "%sConnection: close\r\n%s\r\n", getOK, te)
		raw, err := io.ReadAll(r)
		head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		if err != nil || strings.Contains(head, "\r\nTrailer: X-Sum") != want || strings.Contains(body, "\r\nX-Sum: 7\r\n") != want {
			t.Errorf("%q: got %q, %v; want the trailer: %v", te, raw, err, want)
		}
	}
}

func TestTruncatedAnswerIsCut(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		head, _, _ := readRequest(bufio.NewReader(c))
		if strings.HasPrefix(head, "GET /chunked") {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		} else {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
		}
	})
	g := startGate(t, u.addr)
	for _, path := range []string{"/plain", "/chunked"} {
		c, r := g.dial()
		io.WriteString(c, "GET /ok"+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: whole body %q, want it cut", path, b)
		}
	}
}

// TestStreaming proves that every piece is passed at once: the upstream sends the next one
// only after the client has the one before.
func TestStreaming(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		readRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for i := range 3 {
			<-next
			fmt.Fprintf(c, "9\r\ndata: %d\n\n\r\n", i)
		}
		<-next
		io.WriteString(c, "0\r\n\r\n")
	})
	g := startGate(t, u.addr)
	c, r := g.dial()
	io.WriteString(c, getOK+"\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 9)
	for i := range 3 {
		next <- struct{}{}
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("event = %q, %v", b, err)
		}
	}
	next <- struct{}{}
	if _, err := resp.Body.Read(b); err != io.EOF {
		t.Errorf("after the last event: %v", err)
	}
}

// TestEarlyAnswer has the upstream answer and close while the body is still coming.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil || line == "\r\n" {
				break
			}
		}
		io.WriteString(c, "HTTP/1.1 413 Too Big\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
		io.CopyN(io.Discard, r, 100<<10)
	})
	g := startGate(t, u.addr)
	c, r := g.dial()
	io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n"+strings.Repeat("x", 200<<10))
	a := readAnswer(t, r, "POST")
	if a.StatusCode != 413 || bodyOf(a) != "early" || !a.Close {
		t.Errorf("answer = %d, close %v", a.StatusCode, a.Close)
	}
}

func TestDuplexStreaming(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil || line == "\r\n" {
				break
			}
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		io.Copy(c, r) // chunks back as they come
	})
	g := startGate(t, u.addr, func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.RequestBuffering = false })
	c, r := g.dial()
	io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for _, s := range []string{"a", "b", "c"} {
		io.WriteString(c, "1\r\n"+s+"\r\n")
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != s {
			t.Fatalf("echo = %q, %v, want %q", b, err, s)
		}
	}
	io.WriteString(c, "0\r\n\r\n")
	if _, err := resp.Body.Read(b); err != io.EOF {
		t.Errorf("end = %v", err)
	}
}

func TestWebSocketTunnel(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	heads := make(chan string, 1)
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		head, _, _ := readRequest(r)
		heads <- head
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nearly")
		io.Copy(c, r)
	})
	g := startGate(t, u.addr)
	c, r := g.dial()
	io.WriteString(c, getOK+"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nping")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-Websocket-Accept") != "x" {
		t.Fatalf("answer = %v, %v", resp, err)
	}
	if head := <-heads; !strings.Contains(head, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n") {
		t.Errorf("upstream saw %q", head)
	}
	b := make([]byte, 9)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "earlyping" {
		t.Errorf("tunnel = %q, %v", b, err)
	}
	c.(*net.TCPConn).CloseWrite()
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("end = %v", err)
	}
}

// TestClientGoneCancelsUpstream has the client leave while the upstream has not answered yet.
func TestClientGoneCancelsUpstream(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	asked, ended := make(chan struct{}), make(chan struct{})
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		readRequest(r)
		close(asked)
		r.ReadByte()
		close(ended)
	})
	logged := make(chan int, 1)
	g := startGate(t, u.addr, func(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
		e.Chain = chainOf(logFunc(func(x *plugin.Exchange) { logged <- x.Response.Status }))
		s.ReadTimeout = time.Minute
	})
	c, _ := g.dial()
	io.WriteString(c, getOK+"\r\n")
	<-asked
	c.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("upstream still waits")
	}
	if got := <-logged; got != 499 {
		t.Errorf("logged status = %d, want 499", got)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) { io.Copy(io.Discard, c) })
	g := startGate(t, u.addr, func(o *Options, _ *graph.Endpoint, s *upstream.Spec) {
		o.HeaderTimeout, o.IdleTimeout, o.BodyTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		s.ReadTimeout, s.Retries = 50*time.Millisecond, 1
	})
	if r := g.send(getOK + "\r\n"); r.StatusCode != 504 || bodyOf(r)[:35] != "The upstream server is timing out\nr" {
		t.Errorf("slow upstream: %d", r.StatusCode)
	}
	if n := u.conns(); n != 2 {
		t.Errorf("tries = %d, want 2", n)
	}
	for _, raw := range []string{"", "GET /ok HT"} {
		c, r := g.dial()
		io.WriteString(c, raw)
		if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
			t.Errorf("after %q: %q, %v, want the end", raw, b, err)
		}
	}
	if r := g.send("POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"); r.StatusCode != 408 {
		t.Errorf("slow body: %d, want 408", r.StatusCode)
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.MaxBodyBytes = 4 })
	for raw, want := range map[string]int{
		"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd":                             200,
		"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde":                            413,
		"POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n": 413,
	} {
		r := g.send(raw)
		if r.StatusCode != want {
			t.Errorf("%q: %d, want %d", raw, r.StatusCode, want)
		}
		if want == 413 && !strings.HasPrefix(bodyOf(r), "Payload too large\n") {
			t.Errorf("%q: wrong body", raw)
		}
	}
}

// TestStrayAnswersReachNobody has an upstream say more than it was asked: what comes after an
// answer must not become the answer to another request.
func TestStrayAnswersReachNobody(t *testing.T) {
	t.Parallel()
	relayed, strayed := make(chan bool), make(chan bool, 100)
	defer close(relayed) // also of a test that failed
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"); err != nil {
				return
			}
			// In a packet of its own, once the answer was relayed. Over loopback it is there
			// when the write is over.
			<-relayed
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
			strayed <- true
			if err != nil {
				return
			}
		}
	})
	g := startGate(t, u.addr)
	check := func(r *http.Response) {
		t.Helper()
		if body := bodyOf(r); body != "mine" {
			t.Fatalf("a client got %q", body)
		}
		relayed <- true
		<-strayed
	}
	for range 20 {
		check(g.send(getOK + "\r\n"))
	}
	// A request over a kept connection is waited for: the gate may then rely on what was noticed.
	c, r := g.dial()
	for range 20 {
		io.WriteString(c, getOK+"\r\n")
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		check(answer)
	}
}
