//go:build unix

package main

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands before a Redis and delays what it answers.
type proxy struct {
	URL   string
	delay atomic.Int64
}

func newProxy(t *testing.T, redisURL string) *proxy {
	t.Helper()
	u, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	behind := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	u.Host = listener.Addr().String()
	p := &proxy{URL: u.String()}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go p.join(in, behind)
		}
	}()
	return p
}

func (p *proxy) join(in net.Conn, behind string) {
	defer in.Close()
	out, err := net.Dial("tcp", behind)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := out.Read(buf)
		if d := p.delay.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		if _, failed := in.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}
