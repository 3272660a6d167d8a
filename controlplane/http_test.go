package controlplane

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestPanicsAreErrors has a handler panic: the log says so at the level of errors.
func TestPanicsAreErrors(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	c := &ControlPlane{Options: Options{Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelError}))}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g := new(errgroup.Group)
	c.serveHTTP(ctx, g, "test", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }), l)
	if res, err := http.Get("http://" + l.Addr().String()); err == nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		t.Errorf("answered %s", res.Status)
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := said.String(); !strings.Contains(got, "panic serving") || !strings.Contains(got, "a bug") {
		t.Errorf("the log says %q", got)
	}
}
