//lint:file-ignore SA1019 net/http owns its listeners; this server takes a connection that is already accepted

package engine

//lint:file-ignore SA1019 net/http has no way yet to serve or dial one connection of ours

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// h2client speaks HTTP/2 with prior knowledge.
func h2client(t *testing.T) *http2.Transport {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func roundTrip(t *testing.T, rt http.RoundTripper, q *http.Request) (*http.Response, string) {
	t.Helper()
	r, err := rt.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func newRequest(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	q, err := http.NewRequestWithContext(t.Context(), method, url, b)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestHTTP2SharesTheExchange(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(_ int, head, body string) string {
		if strings.HasPrefix(head, "GET /none") {
			return "HTTP/1.1 204 No Content\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	})
	tr := &trace{}
	g := startGate(t, up.addr, withChain(chainOf(noting{tr, "f", plugin.Next})))
	c := h2client(t)
	for range 3 {
		r, body := roundTrip(t, c, newRequest(t, "POST", "http://"+g.addr+"/ok/x?y", "in"))
		if r.ProtoMajor != 2 || body != "hello" || r.Header.Get("Via") != "1.1 kong/3.9.1" || r.Header.Get("X-Hop") != "" {
			t.Errorf("answer = %d %q %v", r.ProtoMajor, body, r.Header)
		}
	}
	got := up.requests()[0]
	for _, want := range []string{"POST /x?y HTTP/1.1\r\n", "Via: 2 kong/3.9.1\r\n", "Content-Length: 2\r\n", "\r\n\r\nin"} {
		if !strings.Contains(got, want) {
			t.Errorf("upstream saw %q, want %q", got, want)
		}
	}
	if r, body := roundTrip(t, c, newRequest(t, "GET", "http://"+g.addr+"/ok/none", "")); r.StatusCode != 204 || body != "" {
		t.Errorf("answer = %d", r.StatusCode)
	}
	if r, body := roundTrip(t, c, newRequest(t, "GET", "http://"+g.addr+"/missing", "")); r.StatusCode != 404 || !strings.Contains(body, "no Route matched") {
		t.Errorf("answer = %d %q", r.StatusCode, body)
	}
	if r, _ := roundTrip(t, c, newRequest(t, "GET", "http://"+g.addr+"/ok/%00", "")); r.StatusCode != 400 {
		t.Errorf("NUL in path: %d", r.StatusCode)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.what) < 12 {
		t.Errorf("phases = %v", tr.what)
	}
}

func TestTLSCertificateByName(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	named, err := selfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := selfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := startGate(t, up.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.Certificate = other })
	g.g.certs = map[string]*tls.Certificate{"a.test": named}
	l := listen(t)
	go g.ServeTLS(l)
	for _, c := range []struct {
		name, proto string
		cert        *tls.Certificate
	}{{"a.test", "http/1.1", named}, {"b.test", "http/1.1", other}, {"a.test", "h2", named}} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: c.name, NextProtos: []string{c.proto}, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState(); string(got.PeerCertificates[0].Raw) != string(c.cert.Certificate[0]) || got.NegotiatedProtocol != c.proto {
			t.Errorf("%s: other certificate or protocol %q", c.name, got.NegotiatedProtocol)
		}
		conn.Close()
	}
	https := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer https.CloseIdleConnections()
	r, body := roundTrip(t, https, newRequest(t, "GET", "https://"+l.Addr().String()+"/ok", ""))
	if r.ProtoMajor != 2 || body != "hello" {
		t.Errorf("answer = %d %q", r.ProtoMajor, body)
	}
	if !strings.Contains(up.requests()[0], "X-Forwarded-Proto: https\r\n") {
		t.Errorf("upstream saw %q", up.requests()[0])
	}
}

// startH2Upstream serves a handler over HTTP/2 with prior knowledge.
func startH2Upstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	u := &rawUpstream{}
	s := &http2.Server{}
	serveTCP(t, u, func(c net.Conn) { s.ServeConn(c, &http2.ServeConnOpts{Handler: h}) })
	return u.addr
}

func grpcRoute(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
	s.Protocol, e.Protocols, e.StripPath = "grpc", graph.GRPC|graph.GRPCS, false
}

func TestGRPCPassThrough(t *testing.T) {
	t.Parallel()
	addr := startH2Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("Te") != "trailers" || r.Header.Get("Via") != "2 kong/3.9.1" || r.URL.Path != "/ok.Svc/Call" {
			w.Header().Set("Grpc-Status", "3")
			return
		}
		if r.Header.Get("X-Only-Trailers") != "" {
			w.Header().Set("Grpc-Status", "5")
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		w.(http.Flusher).Flush()
		b := make([]byte, 1)
		for {
			if _, err := r.Body.Read(b); err != nil {
				break
			}
			w.Write(b)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	})
	g := startGate(t, addr, grpcRoute)
	c := h2client(t)
	call := func(body io.Reader, fields ...string) *http.Response {
		q, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+g.addr+"/ok.Svc/Call", body)
		q.Header.Set("Content-Type", "application/grpc")
		q.Header.Set("Te", "trailers")
		for _, f := range fields {
			q.Header.Set(f, "1")
		}
		r, err := c.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	in, out := io.Pipe()
	r := call(in)
	if r.Header.Get("Via") != "2 kong/3.9.1" {
		t.Errorf("head = %v", r.Header)
	}
	b := make([]byte, 1)
	for _, s := range []string{"a", "b"} { // each goes through before the next is sent
		io.WriteString(out, s)
		if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != s {
			t.Fatalf("message = %q, %v", b, err)
		}
	}
	out.Close()
	if _, err := r.Body.Read(b); err != io.EOF || r.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("end = %v, trailer %v", err, r.Trailer)
	}
	if r := call(strings.NewReader("x"), "X-Only-Trailers"); r.Header.Get("Grpc-Status") != "5" {
		t.Errorf("trailers only = %v", r.Header)
	}
}

func TestGRPCErrors(t *testing.T) {
	t.Parallel()
	dead := listen(t)
	dead.Close()
	g := startGate(t, dead.Addr().String(), grpcRoute)
	c := h2client(t)
	q := newRequest(t, "POST", "http://"+g.addr+"/ok", "x")
	q.Header.Set("Content-Type", "application/grpc")
	r, body := roundTrip(t, c, q)
	if r.StatusCode != 502 || r.Header.Get("Grpc-Status") != "13" || body != "" || r.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("answer = %d %v %q", r.StatusCode, r.Header, body)
	}
	q = newRequest(t, "POST", "http://"+g.addr+"/none", "x")
	q.Header.Set("Content-Type", "application/grpc")
	if r, _ := roundTrip(t, c, q); r.StatusCode != 404 || r.Header.Get("Grpc-Status") != "5" || r.Header.Get("Grpc-Message") != "no Route matched with those values" {
		t.Errorf("answer = %d %v", r.StatusCode, r.Header)
	}
}

func TestUpstreamTLSVerification(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "sni:"+r.TLS.ServerName) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	for _, c := range []struct {
		name   string
		verify bool
		roots  *x509.CertPool
		host   string
		want   int
	}{
		{"unverified", false, nil, "any.test", 200},
		{"verified", true, roots, "example.com", 200},
		{"other name", true, roots, "other.test", 502},
		{"unknown root", true, x509.NewCertPool(), "example.com", 502},
	} {
		g := startGate(t, s.Listener.Addr().String(), func(_ *Options, e *graph.Endpoint, sp *upstream.Spec) {
			sp.Protocol, sp.TLSVerify, sp.RootCAs, sp.TLSVerifyDepth, e.PreserveHost = "https", c.verify, c.roots, 1, true
		})
		r := g.send("GET /ok HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")
		if r.StatusCode != c.want || c.want == 200 && bodyOf(r) != "sni:"+c.host {
			t.Errorf("%s: %d", c.name, r.StatusCode)
		}
	}
}
