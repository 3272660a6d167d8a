package engine

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// exchange leads one request through its life: route, filters, upstream, answer, log. Its
// memory is used for one exchange after the other.
type exchange struct {
	x      plugin.Exchange
	head   h1.Head // of the request
	eng    *Engine
	client client

	using     atomic.Pointer[view] // read by Retired
	now       time.Time            // the exchange's last look at the clock
	waited    bool                 // something may have taken long since then
	woken     bool                 // the poller has looked at all connections when the request came
	view      *view
	endpoint  *graph.Endpoint
	picked    []*graph.Instance // the configurations that apply, in order
	noted     bool              // it is counted
	logged    int               // how many of picked have seen the end
	query     router.Request
	match     router.Match[*graph.Endpoint]
	pick      upstream.Pick
	contextOf func() context.Context // e.waiting, made once

	body  held
	reply reply
	watch watch

	claim      netip.AddrPort // whose connection it is, by a trusted peer's PROXY header
	sourcePort uint16         // of the client
	host       string         // of the request's authority, with port; port is 0 where there is none
	port       uint16
	trusted    bool   // the peer is
	prefix     string // of the path that was stripped
	cookie     string // that the client is given, to come back to the same target
	proxied    bool   // a try was made, or the answer is one of an earlier try
	kept       bool   // the answer is one of an earlier try
	reason     string // phrase of the answer's status
	connection string // what the answer's Connection says, when that is special
	bodyless   bool   // the answer has no body on the wire

	id      [16]byte
	idText  [32]byte
	scratch []byte // strings made for this exchange
}

// init prepares the memory of an exchange for its first use.
func (e *exchange) init(eng *Engine, c client) {
	e.eng, e.client = eng, c
	if e.contextOf == nil {
		e.contextOf = e.waiting
		e.body.pumped = make(chan error, 1)
	}
}

// enlist makes an exchange's memory known, so that Retired sees which graph it uses.
func (e *Engine) enlist(x *exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exchanges[x] = struct{}{}
}

func (e *Engine) delist(x *exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.exchanges, x)
}

// begin clears what the exchange before left, and takes the current graph.
func (e *exchange) begin(start time.Time) {
	x := &e.x
	x.Bind(e)
	e.watch.begin()
	e.view = e.eng.use(e)
	x.Directory, x.Revision = e.view.Directory(), e.view.revision
	x.Times.Start = start
	e.now, e.waited, e.woken = start, false, false
	e.endpoint, e.noted, e.logged = nil, false, 0
	clear(e.picked)
	e.picked = e.picked[:0]
	e.pick.Reset()
	e.body.reset()
	e.trusted, e.prefix, e.cookie, e.proxied, e.kept = false, "", "", false, false
	e.reason, e.connection, e.bodyless = "", "", false
	e.scratch = e.scratch[:0]
	e.newID()
}

// release lets go of the graph.
func (e *exchange) release() {
	e.watch.stop()
	if c := e.reply.conn; c != nil { // a filter panicked
		c.Close()
		e.reply.conn = nil
	}
	e.view, e.endpoint = nil, nil
	e.using.Store(nil)
}

// look reads the clock. A look costs as much as routing does, so an exchange looks after what
// may take long (a read, filters, a large write) and takes e.now for deadlines and dates
// elsewhere.
func (e *exchange) look() time.Time {
	e.now, e.waited = e.eng.opt.Now(), false
	return e.now
}

// waiting is the exchange's context for one who is about to wait: DNS, or a dial.
func (e *exchange) waiting() context.Context {
	e.waited = true
	return e.watch.context()
}

// after returns the time now that something is done which calls waiting if it waits.
func (e *exchange) after() time.Time {
	if e.waited {
		return e.look()
	}
	return e.now
}

// forget lets go of what belongs to a graph or a connection, before the memory rests.
func (e *exchange) forget() {
	e.release()
	e.x.Bind(nil)
	e.endpoint, e.client = nil, nil
	e.match = router.Match[*graph.Endpoint]{}
	e.query = router.Request{}
	clear(e.picked)
	e.picked = e.picked[:0]
}

// newID makes the request id. The generator is the runtime's ChaCha8, seeded by the system:
// ids cannot be guessed, and making one takes no lock.
func (e *exchange) newID() {
	for i, v := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for k := range 8 {
			e.id[8*i+k] = byte(v >> (8 * k))
		}
	}
	hex.Encode(e.idText[:], e.id[:])
	e.x.ID = unsafe.String(&e.idText[0], len(e.idText))
}

// text makes a string of what add appends to the exchange's scratch memory.
func (e *exchange) text(add func([]byte) []byte) string {
	from := len(e.scratch)
	e.scratch = add(e.scratch)
	return e.since(from)
}

func (e *exchange) since(from int) string {
	b := e.scratch[from:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// run serves a request whose head was read.
func (e *exchange) run() {
	e.describe()
	e.locate()
	e.serve()
	e.end()
}

func (e *exchange) serve() {
	if s := e.eng.blocks.Load(); s != nil && e.refuseClient(s) {
		return
	}
	limit := e.eng.opt.MaxBodyBytes
	if limit > 0 && e.head.Length > limit {
		e.x.Reason = "body-too-large"
		e.page(413)
		return
	}
	if !e.route() {
		e.collect(e.view.Global())
		e.x.Reason = "no-route"
		e.deny(404, "no Route matched with those values")
		return
	}
	if e.checkProtocol() {
		e.x.Reason = "wrong-protocol"
		return
	}
	if s := e.eng.blocks.Load(); s != nil && e.refuseWay(s) {
		return
	}
	if v := e.request(e.endpoint.Chain); v.Done() {
		e.verdict(v)
		return
	}
	if err := e.redirect(); err != nil {
		e.eng.opt.Logger.Error("redirect request", "request_id", strings.Clone(e.x.ID), "error", err)
		e.deny(500, "")
		return
	}
	if e.endpoint.Service == nil && e.x.Upstream.Authority == "" {
		e.x.Reason = "no-service"
		e.deny(503, "no Service found with those values")
		return
	}
	e.proxy()
}

// refuseHead answers a head that was not understood. Kong's global filters see the answer,
// and log it.
func (e *exchange) refuseHead(status int) {
	e.describe()
	e.locate()
	e.collect(e.view.Global())
	e.x.Reason = "malformed-request"
	e.plainPage(status)
	e.end()
}

// end runs the log phase. Afterwards nothing of the exchange may be used.
func (e *exchange) end() {
	if len(e.picked) > 0 || e.x.Reason != "" { // somebody may ask when
		e.x.Times.End = e.look()
	}
	e.view.served.note(&e.x.Response, e.endpoint != nil)
	e.noted = true
	e.x.Request.Size += e.body.seen // not before: a pump counts it
	e.log()
	if e.eng.blocks.Load() != nil {
		e.noteBlocked()
	}
	if e.x.Reason != "" && e.x.Response.Status >= 400 && e.eng.opt.Refused != nil {
		e.eng.opt.Refused(&e.x)
	}
	e.reply.release()
	e.body.release()
	e.release()
}

// log has the filters see the end, each once: one that panics is not asked again.
func (e *exchange) log() {
	for e.logged < len(e.picked) {
		in := e.picked[e.logged]
		e.logged++
		if in.Log != nil {
			in.Log.OnLog(&e.x)
		}
	}
}

// describe fills the request from its head.
func (e *exchange) describe() {
	r, h := &e.x.Request, &e.head
	h.DropNamed(&r.Header)
	r.Method, r.Host, r.Target, r.Path, r.Query = h.Method, h.Host, h.Target, h.Path, h.Query
	if r.Major == 0 {
		r.Major, r.Minor = 1, h.Minor
	}
	r.Length = h.Length
	switch {
	case h.Chunked:
		r.Length, r.HasBody = -1, true
	case h.Length < 0:
		r.Length = 0
	default:
		r.HasBody = h.Length > 0
	}
	r.Scheme = "http"
	if r.TLS != nil {
		r.Scheme = "https"
	}
}

// route finds the endpoint and where the request goes by default.
func (e *exchange) route() bool {
	x, q := &e.x, &e.query
	host, port := e.host, e.port
	if port == 0 {
		port = x.Local.Port()
	}
	path := e.eng.normalize(x.Request.Path)
	*q = router.Request{Method: x.Request.Method, Host: host, Port: port, Path: path, Header: &x.Request.Header,
		Query: x.Request.Query, Source: netip.AddrPortFrom(x.Client, e.sourcePort), Destination: x.Local.Addr(), Scratch: q.Scratch}
	if t := x.Request.TLS; t != nil {
		q.TLS, q.SNI = true, serverName(t)
	}
	m := &e.match
	*m = router.Match[*graph.Endpoint]{CaptureValues: x.Captures.Values[:0]}
	if !e.view.Match(q, m) {
		return false
	}
	end := m.Value
	e.endpoint = end
	x.Route, x.Service = end.Route, end.Service
	x.Captures = plugin.Captures{Whole: m.Prefix, Names: m.CaptureNames, Values: m.CaptureValues, Missing: m.CaptureMissing}
	if end.Upstream != nil {
		x.Upstream.Scheme = end.Upstream.Spec.Protocol
	}
	x.Upstream.Query = x.Request.Query
	from := len(e.scratch)
	var copied bool
	x.Upstream.Path, e.scratch, copied = UpstreamPath(e.scratch, end.ServicePath, m.Prefix, path, end.StripPath)
	if copied {
		x.Upstream.Path = e.since(from)
	}
	if end.StripPath && m.Prefix != "" && m.Prefix != "/" {
		e.prefix = m.Prefix
	}
	return true
}

func serverName(t *tls.ConnectionState) string { return strings.TrimSuffix(t.ServerName, ".") }

// splitHost cuts the port off an authority; 0: there is none.
func splitHost(authority string) (host string, port uint16) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, 0
	}
	n := 0
	for _, c := range []byte(authority[i+1:]) {
		if n = n*10 + int(c-'0'); n > 65535 {
			return authority[:i], 0
		}
	}
	return authority[:i], uint16(n)
}
