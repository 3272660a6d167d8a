package requestsizelimiting

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, size int64, unit string, require bool) plugin.RequestFilter {
	t.Helper()
	f, err := New(&Config{
		AllowedPayloadSize: proto.Int64(size), SizeUnit: proto.String(unit), RequireContentLength: proto.Bool(require),
	}, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

func length(n int) string { return "Content-Length: " + strconv.Itoa(n) }

func TestAnswersBySize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		size    int64
		unit    string
		require bool
		request plugintest.Request
		status  int
		message string
	}{
		{"exactly the limit", 1, "kilobytes", false, plugintest.Request{Method: "POST", Lines: []string{length(1024)}}, 0, ""},
		{"one more", 1, "kilobytes", false, plugintest.Request{Method: "POST", Lines: []string{length(1025)}}, 413, tooLarge},
		{"megabytes", 10, "megabytes", false, plugintest.Request{Method: "POST", Lines: []string{length(10485761)}}, 413, tooLarge},
		{"exactly ten megabytes", 10, "megabytes", false, plugintest.Request{Method: "POST", Lines: []string{length(10485760)}}, 0, ""},
		{"more than an integer holds", 1, "bytes", false, plugintest.Request{Method: "POST", Lines: []string{"Content-Length: 99999999999999999999999"}}, 413, tooLarge},
		{"waits for leave", 10, "bytes", true, plugintest.Request{Method: "POST", Lines: []string{length(100), "Expect: 100-continue"}}, 417, tooLarge},
		{"waits for leave, small", 10, "bytes", true, plugintest.Request{Method: "POST", Lines: []string{length(5), "Expect: 100-continue"}}, 0, ""},
		{"chunked, small", 10, "bytes", true, plugintest.Request{Method: "POST", Body: "abc", Unknown: true, Lines: []string{"Transfer-Encoding: chunked"}}, 0, ""},
		{"chunked, too large", 10, "bytes", false, plugintest.Request{Method: "POST", Body: strings.Repeat("x", 11), Unknown: true, Lines: []string{"Transfer-Encoding: chunked"}}, 413, tooLarge},
		{"no length, none required", 10, "bytes", false, plugintest.Request{}, 0, ""},
		{"no length, required of a GET too", 10, "bytes", true, plugintest.Request{}, 411, noLength},
		{"a length that is no number", 10, "bytes", true, plugintest.Request{Method: "POST", Lines: []string{"Content-Length: abc"}}, 411, noLength},
		{"other codings are not chunked", 10, "bytes", true, plugintest.Request{Method: "POST", Lines: []string{"Transfer-Encoding: gzip, chunked"}}, 411, noLength},
		{"nothing allowed", 0, "bytes", false, plugintest.Request{Method: "POST", Body: "x", Unknown: true}, 413, tooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := build(t, tt.size, tt.unit, tt.require).OnRequest(tt.request.Exchange())
			if v.Status() != tt.status || v.Message() != tt.message {
				t.Errorf("OnRequest = %d %q, want %d %q", v.Status(), v.Message(), tt.status, tt.message)
			}
		})
	}
}

func TestDefaultIs128Megabytes(t *testing.T) {
	t.Parallel()
	f, err := New(&Config{}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	if got := f.(*filter).limit; got != 128<<20 {
		t.Errorf("limit = %d, want %d", got, 128<<20)
	}
	if f, _ := New(&Config{AllowedPayloadSize: proto.Int64(1 << 60)}, plugintest.NewHost()); f.(*filter).limit <= 0 {
		t.Error("a huge size wraps around")
	}
	if _, err := New(&Config{SizeUnit: proto.String("pounds")}, plugintest.NewHost()); err == nil {
		t.Error("New(pounds) = nil, want an error")
	}
}

type broken struct{ err error }

func (broken) Context() context.Context         { return context.Background() }
func (b broken) ReadBody(int64) ([]byte, error) { return nil, b.err }
func (broken) SetBody([]byte)                   {}

func TestABodyThatBreaksIsABadRequest(t *testing.T) {
	t.Parallel()
	x := &plugin.Exchange{}
	plugintest.Request{Method: "POST", Body: "x", Unknown: true}.Again(x, broken{errors.New("reset")})
	if v := build(t, 10, "bytes", false).OnRequest(x); v.Status() != 400 {
		t.Errorf("OnRequest = %d, want 400", v.Status())
	}
}

func TestOnRequestDoesNotAllocate(t *testing.T) {
	f := build(t, 10, "megabytes", false)
	for _, r := range []plugintest.Request{{}, {Method: "POST", Body: "abc", Lines: []string{length(3)}}} {
		x := r.Exchange()
		if n := testing.AllocsPerRun(100, func() { f.OnRequest(x) }); n != 0 {
			t.Errorf("OnRequest(%v) allocates %v times, want 0", r, n)
		}
	}
}
