// Package adminapi is Kong 3.9.1's Admin REST API over our use cases: the same paths,
// bodies, status codes and error texts.
//
// It knows HTTP and Kong's wire format; it knows neither SQL nor the stream to the nodes.
// Enter at New.
package adminapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/plugin"
)

// maxBody is Kong's nginx_admin_client_max_body_size.
const maxBody = 10 << 20

// Waiter holds a write's answer back until nodes enforce it.
type Waiter interface {
	// WaitEnforced returns when at least fraction of the nodes connected to any replica enforce rev, or
	// when ctx ends, with the counts as they are then.
	WaitEnforced(ctx context.Context, rev uint64, fraction float64) (enforcing, connected int)
	// Unheard names the replicas that do not answer: what is told of nodes and done to them
	// leaves theirs out.
	Unheard() []string
}

// Node is what the API tells about the process itself.
type Node interface {
	// Info is the body of GET /, less what the API knows.
	Info() map[string]any
	// Status is the "server" and "memory" members of GET /status; unit and scale as asked.
	Status(unit string, scale int) map[string]any
	// LogLevel returns Kong's word for the present log level; SetLogLevel changes it, and
	// back after d when d is not 0.
	LogLevel() string
	SetLogLevel(level string, d time.Duration) error
}

// Options are what an API is made of.
type Options struct {
	Config  *config.Config
	Plugins *plugin.Set
	Waiter  Waiter
	Node    Node
	Metrics http.Handler    // GET /metrics; nil: 404
	Fleet   Fleet           // nil: /clustering answers as Kong does outside of hybrid mode
	Health  Health          // nil: there are no paths of the health of targets
	Cache   Cache           // nil: there are no paths of kept answers
	Windows *config.Windows // nil: there are none
	Blocks  Blocks          // nil: there are none
	// Elsewhere are the windows that other replicas keep; nil: there are no others.
	Elsewhere Elsewhere
	Log       *slog.Logger
	// LogLevel changes how much the whole cluster logs; nil: this process alone is changed.
	LogLevel func(ctx context.Context, level string, d time.Duration) error
	// WindowRule may have a client's runs be windows by themselves.
	WindowRule WindowRule
	// WaitAtMost bounds how long a write's answer is held back by default.
	WaitAtMost time.Duration
	Marks      Marks
}

// Marks are what the API leaves on its answers.
type Marks struct {
	Server  string // token in Server; "": no such line
	Latency bool   // X-Kong-Admin-Latency
}

// KongMarks are what clients of Kong 3.9.1 see by default.
func KongMarks() Marks { return Marks{Server: "kong/3.9.1", Latency: true} }

// API serves Kong's Admin API. It is safe for concurrent use.
type API struct {
	Options
	root *node
	// paths are all patterns, for GET /endpoints.
	paths []string
}

// New returns the API.
func New(o Options) *API {
	a := &API{Options: o, root: &node{}}
	a.register()
	return a
}

// handler answers one endpoint. A returned error becomes Kong's error body.
type handler func(q *request) error

// request is one call on its way through a handler.
type request struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	segs  []string // decoded segments of the path
	start time.Time
	// wild are the segments that matched a parameter, in order.
	wild []string
	// Config is what the call reads and writes: the API's, or its window's.
	Config *config.Config
	window *config.Window
	wait   wait // for nodes, as the client asks
	marked bool // not so: a page of nginx's own, which has none of our lines
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{API: a, w: w, r: r, start: time.Now()}
	if r.Method == http.MethodTrace {
		q.page(http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	if q.marked = true; a.Marks.Server != "" {
		h.Set("Server", a.Marks.Server)
	}
	h.Set("Access-Control-Allow-Origin", allowOrigin(r))
	h.Set("Access-Control-Allow-Credentials", "true")

	segs, ok := segments(r.URL.EscapedPath())
	if !ok {
		q.message(http.StatusNotFound, "Not found")
		return
	}
	q.segs = segs
	ep := a.root.match(segs, &q.wild)
	if ep == nil {
		q.message(http.StatusNotFound, "Not found")
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if method == http.MethodOptions {
		q.options(ep)
		return
	}
	serve := ep.methods[method]
	if serve == nil {
		q.message(http.StatusMethodNotAllowed, "Method not allowed")
		return
	}
	if strings.Count(r.URL.RawQuery, "&") >= maxArguments {
		q.fail(errArguments)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var err error
	if q.wait, err = parseWait(r.Header.Get("Sekifuda-Wait")); err != nil {
		q.fail(err) // before anything is written
		return
	}
	leave, elsewhere, err := q.enter(method)
	if elsewhere != "" {
		err = q.Elsewhere.Forward(w, r, elsewhere)
	} else if err == nil {
		err = serve(q)
	}
	if err != nil {
		q.fail(err)
	}
	leave()
}

// options answers a preflight, or whoever asks what may be done here.
func (q *request) options(ep *endpoint) {
	h := q.w.Header()
	allow := ep.allow()
	h.Set("Allow", allow)
	h.Set("Access-Control-Allow-Methods", allow)
	headers := q.r.Header.Get("Access-Control-Request-Headers")
	if headers == "" {
		headers = "Content-Type"
	}
	h.Set("Access-Control-Allow-Headers", headers)
	q.noContent()
}

func allowOrigin(r *http.Request) string {
	if o := r.Header.Get("Origin"); o != "" {
		return o
	}
	return "*"
}

// latency dates the answer; Kong counts whole milliseconds.
func (q *request) latency() {
	if !q.marked || !q.Marks.Latency {
		return
	}
	ms := time.Since(q.start).Milliseconds()
	q.w.Header().Set("X-Kong-Admin-Latency", strconv.FormatInt(ms, 10))
}

// segments splits a path as Kong's router does: one trailing slash is free, an empty
// segment elsewhere matches nothing.
func segments(path string) ([]string, bool) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return nil, true
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		if p == "" {
			return nil, false
		}
		parts[i] = unescape(p)
	}
	return parts, true
}

// unescape decodes %XX and leaves what is not an escape as it is: names may hold a bare %.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
