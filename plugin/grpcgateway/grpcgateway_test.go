package grpcgateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/rpc"
)

// shelf writes the .proto file of a service. It is no file of the repository: what is below this
// folder is linted as the gate's own.
func shelf(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shelf.proto")
	if err := os.WriteFile(path, []byte(shelfProto), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const shelfProto = `syntax = "proto3";

package shelf;

import "google/api/annotations.proto";

service Shelf {
  rpc Get(Book) returns (Book) {
    option (google.api.http) = {
      get: "/v1/books/{name}"
      additional_bindings {get: "/v1/{place.room=rooms/*}/books/{name=**}"}
    };
  }
  rpc Put(Book) returns (Book) {
    option (google.api.http) = {put: "/v1/books/{name}" body: "*"};
  }
  rpc Move(Book) returns (Book) {
    option (google.api.http) = {post: "/v1/books/{name}:move" body: "place"};
  }
  rpc Hidden(Book) returns (Book);
}

message Book {
  string name = 1;
  int32 pages = 2;
  bool lent = 3;
  repeated string tags = 4;
  Place place = 5;
  string short_title = 6;
}

message Place {
  string room = 1;
  int64 row = 2;
}
`

func build(t *testing.T, file string) *filter {
	t.Helper()
	f, err := New(&Config{Proto: proto.String(file)}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter)
}

// TestRequests reads what goes upstream with the method's own response, which is of the same type.
func TestRequests(t *testing.T) {
	t.Parallel()
	f := build(t, shelf(t))
	for _, tt := range []struct{ name, verb, target, body, path, want string }{
		{"path", "GET", "/v1/books/dune", "", "/shelf.Shelf/Get", `{"name":"dune"}`},
		{"query", "GET", "/v1/books/dune?pages=3&lent=1&tags=a&tags=b&place.row=7&unknown=x&place.none=y&name.x=z", "", "/shelf.Shelf/Get", `{"name":"dune","pages":3,"lent":true,"tags":["a","b"],"place":{"row":"7"}}`},
		{"query of a list of one", "GET", "/v1/books/dune?tags=a&lent=false&shortTitle=d", "", "/shelf.Shelf/Get", `{"name":"dune","tags":["a"],"short_title":"d"}`},
		{"nested path", "GET", "/v1/rooms/2/books/a/b", "", "/shelf.Shelf/Get", `{"name":"a/b","place":{"room":"rooms/2"}}`},
		{"whole body", "PUT", "/v1/books/dune?pages=9", `{"pages":4,"more":1}`, "/shelf.Shelf/Put", `{"name":"dune","pages":4}`},
		{"no body", "PUT", "/v1/books/dune", "", "/shelf.Shelf/Put", `{"name":"dune"}`},
		{"body of a field", "POST", "/v1/books/dune:move", `{"room":"r","row":2}`, "/shelf.Shelf/Move", `{"name":"dune","place":{"room":"r","row":"2"}}`},
	} {
		x := plugintest.Request{Method: tt.verb, Target: tt.target, Body: tt.body}.Exchange()
		if v := f.OnRequest(x); v.Done() {
			_, body, _ := v.Raw()
			t.Errorf("%s: %d %s", tt.name, v.Status(), body)
			continue
		}
		message, rest, ok := rpc.NextFrame([]byte(plugintest.Body(x)))
		if !ok || len(rest) != 0 {
			t.Errorf("%s: the body is no message", tt.name)
			continue
		}
		got, err := x.Value(f).(*call).method.Response(message)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: message %s, %v, want %s", tt.name, got, err, tt.want)
		}
		if x.Upstream.Path != tt.path || x.Upstream.Method != "POST" || x.Upstream.Query != "" ||
			x.Request.Header.Get("Content-Type") != "application/grpc" || x.Request.Header.Get("TE") != "trailers" {
			t.Errorf("%s: upstream %+v, %v", tt.name, x.Upstream, x.Request.Header.Fields())
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := build(t, shelf(t))
	for _, tt := range []struct{ verb, target, body, want string }{
		{"GET", "/v2/books/dune", "", `failed to transcode .proto file Unknown path "/v2/books/dune"`},
		{"GET", "/v1/books/a/b", "", `failed to transcode .proto file Unknown path "/v1/books/a/b"`},
		{"GET", "/shelf.Shelf/Hidden", "", `failed to transcode .proto file Unknown path "/shelf.Shelf/Hidden"`},
		{"PATCH", "/v1/books/dune", "", `failed to transcode .proto file Unknown method "PATCH"`},
		{"PUT", "/v1/books/dune", "{", "decode json err: unexpected end of JSON input"},
		{"PUT", "/v1/books/dune", "[]", "body must be a table"},
		{"GET", "/v1/books/dune?pages=many", "", "failed to encode payload"},
	} {
		x := plugintest.Request{Method: tt.verb, Target: tt.target, Body: tt.body}.Exchange()
		v := f.OnRequest(x)
		if _, body, _ := v.Raw(); v.Status() != 400 || body != tt.want || x.Early.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d %q, want %q", tt.verb, tt.target, v.Status(), body, tt.want)
		}
	}
	none, err := New(&Config{}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[*filter]string{none.(*filter): errNoProto.Error(), build(t, "none/none.proto"): "read proto none/none.proto"} {
		v := f.OnRequest(plugintest.Request{}.Exchange())
		if _, body, _ := v.Raw(); v.Status() != 400 || !strings.HasPrefix(body, want) {
			t.Errorf("without the file: %d %q, want %q", v.Status(), body, want)
		}
	}
	x := plugintest.Request{Method: "OPTIONS"}.Exchange()
	v := f.OnRequest(x)
	if kind, body, _ := v.Raw(); v.Status() != 200 || body != "OK" || kind != "application/json" || x.Early.Get("Access-Control-Allow-Methods") != "GET,POST,PATCH,DELETE" {
		t.Errorf("preflight: %d %q, %v", v.Status(), body, x.Early.Fields())
	}
}

// TestAnswersInPieces cuts an answer of two messages at every place.
func TestAnswersInPieces(t *testing.T) {
	t.Parallel()
	f := build(t, shelf(t))
	asked := func() (*plugin.Exchange, *call) {
		x := plugintest.Request{Target: "/v1/books/dune"}.Exchange()
		if v := f.OnRequest(x); v.Done() {
			t.Fatalf("OnRequest = %d", v.Status())
		}
		return x, x.Value(f).(*call)
	}
	_, c := asked()
	one, err := c.method.Request([]byte(`{"name":"a","pages":1}`))
	if err != nil {
		t.Fatal(err)
	}
	wire := rpc.AppendFrame(rpc.AppendFrame(nil, 0, one), 0, one)
	for at := range wire {
		_, c := asked()
		if got := string(c.answer(wire[:at], false)) + string(c.answer(wire[at:], true)); got != `{"name":"a","pages":1}{"name":"a","pages":1}` {
			t.Errorf("cut at %d: %s", at, got)
		}
	}
	for told, want := range map[string]int{"5": 404, "16": 401, "0": 200, "99": 500, "x": 500} {
		x, _ := asked()
		plugintest.Answer(x, f, plugin.Next, 200, "Grpc-Status: "+told)
		if x.Response.Status != want || x.Response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("grpc-status %s: %d, want %d", told, x.Response.Status, want)
		}
	}
	if _, c := asked(); string(c.answer([]byte("raw"), true)) != "raw" {
		t.Error("an answer that is no message is lost")
	}
}
