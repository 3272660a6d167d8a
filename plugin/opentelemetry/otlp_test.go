package opentelemetry

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// message is a decoded protobuf message: of each field its values, as they stand on the wire.
type message map[protowire.Number][]any

func decode(t *testing.T, b []byte) message {
	t.Helper()
	m := message{}
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("tag: %v", protowire.ParseError(n))
		}
		b = b[n:]
		var v any
		switch kind {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		default:
			t.Fatalf("field %d has type %d", field, kind)
		}
		if n < 0 {
			t.Fatalf("field %d: %v", field, protowire.ParseError(n))
		}
		b = b[n:]
		m[field] = append(m[field], v)
	}
	return m
}

func (m message) messages(t *testing.T, field protowire.Number) (all []message) {
	t.Helper()
	for _, v := range m[field] {
		all = append(all, decode(t, v.([]byte)))
	}
	return all
}

func (m message) attributes(t *testing.T, field protowire.Number) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, pair := range m.messages(t, field) {
		value := pair.messages(t, pairValue)[0]
		if text := value[valueText]; text != nil {
			all[string(pair[pairKey][0].([]byte))] = string(text[0].([]byte))
		} else {
			all[string(pair[pairKey][0].([]byte))] = value[valueInt][0]
		}
	}
	return all
}

// collector takes posts.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	fail   int
	bodies [][]byte
	heads  []http.Header
}

func newCollector(t *testing.T, fail int) *collector {
	c := &collector{fail: fail}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.fail > 0 {
			c.fail--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.bodies, c.heads = append(c.bodies, body), append(c.heads, r.Header)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) posts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies)
}

func run(t *testing.T, f *filter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

var start = time.Unix(1700000000, 123456789)

// TestSpans posts a proxied exchange and one that the gate answered, and reads what came.
func TestSpans(t *testing.T) {
	t.Parallel()
	c := newCollector(t, 0)
	f := build(t, &Config{
		TracesEndpoint: proto.String(c.URL + "/v1/traces"), SamplingRate: proto.Float64(1),
		Headers: map[string]string{"X-Token": "t"}, ResourceAttributes: map[string]string{"service.name": "mine", "zone": "a"},
	})
	stop := run(t, f)
	x := plugintest.Request{Method: "POST", Target: "/a?b=c\xff", Lines: formatsTold["w3c"]}.Exchange()
	x.Route, x.Service = &plugin.Route{ID: "r", Name: "route"}, &plugin.Service{ID: "s", Name: "service"}
	x.Upstream.Tries = []plugin.Try{{}, {Addr: netip.MustParseAddrPort("127.0.0.1:9000")}}
	plugintest.Timed(x, start)
	plugintest.Answer(x, f, f.OnRequest(x), 200)
	f.OnLog(x)
	y := plugintest.Request{Lines: formatsTold["w3c"]}.Exchange()
	y.Times = plugin.Times{Start: start, End: start.Add(time.Millisecond)}
	y.Response.Status = 503
	f.OnLog(y)
	stop()
	if c.posts() != 1 {
		t.Fatalf("%d posts, want 1", c.posts())
	}
	if h := c.heads[0]; h.Get("Content-Type") != "application/x-protobuf" || h.Get("X-Token") != "t" {
		t.Errorf("head %v", h)
	}
	resources := decode(t, c.bodies[0]).messages(t, requestResourceSpans)
	resource := resources[0].messages(t, spansResource)[0].attributes(t, resourceAttributes)
	want := map[string]any{"service.name": "mine", "service.version": "3.9.1", "service.instance.id": "node-1", "zone": "a"}
	if len(resources) != 1 || !reflect.DeepEqual(resource, want) {
		t.Errorf("resource %v, want %v", resource, want)
	}
	spans := resources[0].messages(t, spansScopeSpans)[0].messages(t, scopeSpansSpans)
	if len(spans) != 3 {
		t.Fatalf("%d spans, want 3", len(spans))
	}
	server, client, refused := spans[0], spans[1], spans[2]
	for i, s := range spans {
		if got := hex.EncodeToString(s[spanTraceID][0].([]byte)); got != trace {
			t.Errorf("span %d is of the trace %s", i, got)
		}
	}
	if hex.EncodeToString(server[spanParentID][0].([]byte)) != id || !reflect.DeepEqual(client[spanParentID], server[spanSpanID]) {
		t.Error("the spans do not hang together")
	}
	if server[spanKind][0] != uint64(kindServer) || client[spanKind][0] != uint64(kindClient) || string(server[spanName][0].([]byte)) != "kong" || string(client[spanName][0].([]byte)) != "kong.balancer" {
		t.Errorf("kinds and names %v %v", server[spanName], client[spanName])
	}
	at := func(d time.Duration) uint64 { return uint64(start.Add(d).UnixNano()) }
	if server[spanStart][0] != at(0) || server[spanEnd][0] != at(28*time.Millisecond) || client[spanStart][0] != at(3*time.Millisecond) || client[spanEnd][0] != at(23*time.Millisecond) {
		t.Errorf("times %v %v, %v %v", server[spanStart], server[spanEnd], client[spanStart], client[spanEnd])
	}
	wantServer := map[string]any{
		"http.method": "POST", "http.url": "http://gw.test/a?b=c\ufffd", "http.host": "gw.test", "http.scheme": "http", "http.flavor": "1.1",
		"http.client_ip": "192.0.2.1", "net.peer.ip": "192.0.2.1", "kong.request.id": x.ID, "http.route": "route", "kong.service": "service",
		"http.status_code": uint64(200),
	}
	if got := server.attributes(t, spanAttributes); !reflect.DeepEqual(got, wantServer) {
		t.Errorf("attributes %v\nwant       %v", got, wantServer)
	}
	wantClient := map[string]any{"net.peer.ip": "127.0.0.1", "net.peer.port": uint64(9000), "try_count": uint64(2)}
	if got := client.attributes(t, spanAttributes); !reflect.DeepEqual(got, wantClient) {
		t.Errorf("attributes %v, want %v", got, wantClient)
	}
	if server[spanStatus] != nil || client[spanStatus] != nil || refused.messages(t, spanStatus)[0][statusCode][0] != uint64(statusError) {
		t.Errorf("states %v %v %v", server[spanStatus], client[spanStatus], refused[spanStatus])
	}
}

// TestPostsThatFailAreTriedAgain has a collector that is not ready at first.
func TestPostsThatFailAreTriedAgain(t *testing.T) {
	t.Parallel()
	c := newCollector(t, 2)
	f := build(t, &Config{
		TracesEndpoint: &c.URL, SamplingRate: proto.Float64(1),
		Queue: &outbox.Limits{MaxCoalescingDelay: proto.Float64(0), InitialRetryDelay: proto.Float64(0.001)},
	})
	defer run(t, f)()
	x := plugintest.Request{}.Exchange()
	f.OnLog(x)
	for deadline := time.Now().Add(20 * time.Second); c.posts() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out: the post is tried again")
		}
	}
}

func TestWhatIsNotSampledIsNotPosted(t *testing.T) {
	t.Parallel()
	c := newCollector(t, 0)
	f := build(t, &Config{TracesEndpoint: &c.URL, SamplingRate: proto.Float64(0)})
	stop := run(t, f)
	x := plugintest.Request{}.Exchange()
	f.OnRequest(x)
	f.OnLog(x)
	stop()
	if c.posts() != 0 {
		t.Errorf("%d posts, want none", c.posts())
	}
}

func TestLongMessages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 127, 128, 129, 16383, 16384, 1 << 21} {
		b := appendMessage([]byte{0x08, 1}, 2, func(b []byte) []byte { return append(b, make([]byte, n)...) })
		m := decode(t, b)
		if len(m[1]) != 1 || len(m[2]) != 1 || len(m[2][0].([]byte)) != n {
			t.Errorf("a message of %d bytes is read as %d", n, len(m[2][0].([]byte)))
		}
	}
}
