package httplog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// sink is a log server that answers as it is told.
type sink struct {
	*httptest.Server

	mu     sync.Mutex
	status []int // of the next answers, then 200
	got    []*http.Request
	bodies []string
}

func newSink(t *testing.T, status ...int) *sink {
	t.Helper()
	s := &sink{status: status}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got, s.bodies = append(s.got, r), append(s.bodies, string(body))
		if len(s.status) > 0 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(s.status[0])
			s.status = s.status[1:]
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) requests() ([]*http.Request, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.got...), append([]string(nil), s.bodies...)
}

func serve(t *testing.T, c *Config, h *plugintest.Host) (f *filter, stop func() error) {
	t.Helper()
	built, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f = built.(*filter)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	var once sync.Once
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return f, stop
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func uris(t *testing.T, body string) (all []string) {
	t.Helper()
	type entry struct{ Request struct{ URI string } }
	var list []entry
	if strings.HasPrefix(body, "{") {
		body = "[" + body + "]"
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	for _, e := range list {
		all = append(all, e.Request.URI)
	}
	return all
}

func log(f plugin.LogFilter, target string) { f.OnLog(plugintest.Request{Target: target}.Exchange()) }

func TestSendsOneObject(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	f, _ := serve(t, &Config{
		HttpEndpoint: proto.String(strings.Replace(s.URL, "://", "://u:p@", 1) + "/logs?secret=1"),
		Method:       proto.String("PUT"), ContentType: proto.String("application/json; charset=utf-8"),
		Headers: map[string]string{"X-Token": "t"},
	}, plugintest.NewHost())
	log(f, "/one")
	until(t, "the entry arrives", func() bool { got, _ := s.requests(); return len(got) == 1 })
	got, bodies := s.requests()
	r := got[0]
	user, password, _ := r.BasicAuth()
	if r.Method != "PUT" || r.RequestURI != "/logs" || r.Header.Get("Content-Type") != "application/json; charset=utf-8" ||
		r.Header.Get("X-Token") != "t" || user != "u" || password != "p" {
		t.Errorf("request = %s %s %v", r.Method, r.RequestURI, r.Header)
	}
	if !strings.HasPrefix(bodies[0], "{") || uris(t, bodies[0])[0] != "/one" {
		t.Errorf("body = %s, want one object", bodies[0])
	}
}

func TestBatchesAreArraysInOrder(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	f, stop := serve(t, &Config{HttpEndpoint: &s.URL, Queue: &outbox.Limits{MaxBatchSize: proto.Int64(3), MaxCoalescingDelay: proto.Float64(3600)}}, plugintest.NewHost())
	for i := range 7 {
		log(f, fmt.Sprint("/", i))
	}
	until(t, "two batches arrive", func() bool { got, _ := s.requests(); return len(got) == 2 })
	if err := stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	_, bodies := s.requests()
	if got := fmt.Sprint(uris(t, bodies[0]), uris(t, bodies[1]), uris(t, bodies[2])); got != "[/0 /1 /2] [/3 /4 /5] [/6]" || bodies[2][0] != '[' {
		t.Errorf("batches = %s", got)
	}
}

func TestAPartialBatchIsSentInTime(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	f, _ := serve(t, &Config{HttpEndpoint: &s.URL, Queue: &outbox.Limits{MaxBatchSize: proto.Int64(100), MaxCoalescingDelay: proto.Float64(0.02)}}, plugintest.NewHost())
	log(f, "/one")
	until(t, "the entry arrives", func() bool { got, _ := s.requests(); return len(got) == 1 })
}

func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSink(t, 500, 302, 404)
	h := plugintest.NewHost()
	f, stop := serve(t, &Config{HttpEndpoint: &s.URL}, h)
	log(f, "/one")
	until(t, "the fourth try", func() bool { got, _ := s.requests(); return len(got) == 4 })
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	got, bodies := s.requests()
	for i := range got {
		if got[i].URL.Path != "/" || bodies[i] != bodies[0] {
			t.Errorf("try %d = %s %s", i, got[i].URL, bodies[i])
		}
	}
	if !strings.Contains(h.Logged(), "500 Internal Server Error") {
		t.Errorf("log = %q, want the cause", h.Logged())
	}
}

func TestABatchIsGivenUpAfterItsTime(t *testing.T) {
	t.Parallel()
	s := newSink(t, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500)
	h := plugintest.NewHost()
	f, _ := serve(t, &Config{HttpEndpoint: &s.URL, Queue: &outbox.Limits{MaxRetryTime: proto.Float64(0.02), InitialRetryDelay: proto.Float64(0.005)}}, h)
	log(f, "/one")
	until(t, "the loss is logged", func() bool { return strings.Contains(h.Logged(), "entries are lost until the server can be reached") })
	if got, _ := s.requests(); len(got) < 2 || len(got) > 4 {
		t.Errorf("%d tries in 20 ms from 5 ms on, want 2 to 4", len(got))
	}
}

func TestTheOldestGiveWay(t *testing.T) {
	t.Parallel()
	for _, q := range []*outbox.Limits{{MaxEntries: proto.Int64(2)}, {MaxBytes: proto.Int64(900)}} {
		s := newSink(t)
		h := plugintest.NewHost()
		built, err := New(&Config{HttpEndpoint: &s.URL, Queue: q}, h)
		if err != nil {
			t.Fatal(err)
		}
		f := built.(*filter)
		for i := range 10 {
			log(f, fmt.Sprint("/", i))
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
		_, bodies := s.requests()
		n := len(bodies)
		if last := uris(t, bodies[n-1])[0]; n > 2 || last != "/9" {
			t.Errorf("%v: sent %d, the last %s, want at most 2 up to /9", q, n, last)
		}
		if !strings.Contains(h.Logged(), fmt.Sprintf("entries=%d", 10-n)) {
			t.Errorf("log = %q, want how many were dropped", h.Logged())
		}
	}
}

func TestOlderSpellingsOfTheQueue(t *testing.T) {
	t.Parallel()
	s, _ := settingsOf(&Config{QueueSize: proto.Int64(5), FlushTimeout: proto.Float64(3), Queue: &outbox.Limits{MaxBatchSize: proto.Int64(9)}})
	if s.Batch != 5 || s.Coalesce != 3*time.Second {
		t.Errorf("deprecated fields = %+v", s)
	}
	s, _ = settingsOf(&Config{QueueSize: proto.Int64(1), FlushTimeout: proto.Float64(2), Queue: &outbox.Limits{MaxBatchSize: proto.Int64(9), MaxCoalescingDelay: proto.Float64(4)}})
	if s.Batch != 9 || s.Coalesce != 4*time.Second {
		t.Errorf("deprecated fields at their old defaults = %+v", s)
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	const good = "http://h.test"
	for want, c := range map[string]*Config{
		"missing scheme in url":         {HttpEndpoint: proto.String("h.test/x")},
		"missing host in url":           {HttpEndpoint: proto.String("http:///x")},
		"could not parse url":           {HttpEndpoint: proto.String("http://h.test:x")},
		"neither http nor https":        {HttpEndpoint: proto.String("ftp://h.test")},
		"specifying both":               {HttpEndpoint: proto.String("http://u:p@h.test"), Headers: map[string]string{"Authorization": "x"}},
		"config.queue.max_batch_size":   {HttpEndpoint: proto.String(good), Queue: &outbox.Limits{MaxBatchSize: proto.Int64(0)}},
		"config.custom_fields_by_lua.x": {HttpEndpoint: proto.String(good), CustomFieldsByLua: map[string]string{"x": "boom"}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%v) = %v, want %q", c, err, want)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("http://u:p@h.test/x?y#z")
	f.Add("http://[::1]:80")
	f.Add("//x")
	f.Fuzz(func(t *testing.T, s string) {
		target, err := newTarget(&Config{HttpEndpoint: &s})
		if err != nil {
			return
		}
		if _, err := http.NewRequest("POST", target.url, nil); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%q gives the unusable %q: %v", s, target.url, err)
		}
	})
}
