package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listening is a supervisor's end.
func listening(t *testing.T) (path string, heard <-chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines := make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, _, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			lines <- string(b[:n])
		}
	}()
	return path, lines
}

// TestWatchdogHearsTheLiving has a process say that it is alive for as long as it is.
func TestWatchdogHearsTheLiving(t *testing.T) {
	t.Parallel()
	path, heard := listening(t)
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
	getenv := func(name string) string { return env[name] }
	if s, err := supervised(getenv, false); err != nil || s.every != 0 {
		t.Errorf("the watchdog of another process: %+v, %v", s, err)
	}
	s, err := supervised(getenv, true) // who takes over is watched in the place of that one
	if err != nil || s.every != 20*time.Millisecond {
		t.Fatalf("supervised = %+v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hang, hung, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	n := 0
	go func() {
		defer close(ended)
		s.watch(ctx, func() {
			if n++; n == 4 {
				close(hung)
				<-hang
			}
		})
	}()
	for range 3 {
		if got := <-heard; got != "WATCHDOG=1" {
			t.Errorf("heard %q", got)
		}
	}
	<-hung
	select {
	case got := <-heard:
		t.Errorf("one that hangs says %q", got)
	default:
	}
	cancel()
	close(hang)
	<-ended
}

// TestNobodyListens has a process without a supervisor say nothing, and one with a wrong address
// say that.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	s, err := supervised(func(string) string { return "" }, false)
	if s != nil || err != nil {
		t.Errorf("supervised = %v, %v", s, err)
	}
	s.ready("well")
	s.watch(t.Context(), func() { t.Error("asked whether it is alive for nobody") })
	if _, err := supervised(func(string) string { return "/nowhere/notify" }, false); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
		t.Errorf("a wrong address: %v", err)
	}
}
