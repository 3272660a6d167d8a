package engine

import (
	"strings"
	"testing"
)

func TestProxyPlain(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr)
	r := g.send("GET /ok/a%20b//?x=1 HTTP/1.1\r\nHost: gw.test\r\nX-A: 1\r\nConnection: X-B\r\nX-B: 2\r\n\r\n")
	if r.StatusCode != 200 || bodyOf(r) != "hello" {
		t.Fatalf("answer = %d", r.StatusCode)
	}
	for k, v := range map[string]string{
		"Content-Type": "text/plain; charset=UTF-8", "Via": "1.1 kong/3.9.1", "Server": "kong/3.9.1", "Content-Length": "5",
	} {
		if r.Header.Get(k) != v {
			t.Errorf("%s = %q, want %q", k, r.Header.Get(k), v)
		}
	}
	id := r.Header.Get("X-Kong-Request-Id")
	port := g.addr[strings.LastIndexByte(g.addr, ':')+1:]
	want := "GET /a%20b/?x=1 HTTP/1.1\r\nHost: " + up.addr + "\r\nX-A: 1\r\nX-Forwarded-For: 127.0.0.1\r\n" +
		"X-Forwarded-Proto: http\r\nX-Forwarded-Host: gw.test\r\nX-Forwarded-Port: " + port + "\r\nX-Forwarded-Path: /ok/a%20b//\r\n" +
		"X-Forwarded-Prefix: /ok\r\nX-Real-IP: 127.0.0.1\r\nVia: 1.1 kong/3.9.1\r\nX-Kong-Request-Id: " + id +
		"\r\nConnection: keep-alive\r\n\r\n"
	if got := up.requests()[0]; got != want {
		t.Errorf("upstream saw %q\nwant %q", got, want)
	}
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("request id = %q", id)
	}
}
