package plugin

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strconv"
	"time"
	"unsafe"
)

// Exchange is one request and its response on their way through a gate. It belongs to one
// goroutine at a time. Everything reached through it is valid until OnLog returns; then the
// memory is used again. It is the same for every protocol.
type Exchange struct {
	// ID is the request id: 32 lower-case hex digits.
	ID string

	// Peer is the other end of the connection; Client is who asks, after trusted proxies
	// were believed.
	Peer   netip.AddrPort
	Client netip.Addr
	Local  netip.AddrPort

	Request  Request
	Response Response
	Upstream Upstream

	// Early holds lines for an answer that does not exist yet. They replace lines of the
	// same name on whatever answer goes out, before response filters see it.
	Early Header

	Route      *Route      // nil: nothing matched
	Service    *Service    // nil: the route has none
	Consumer   *Consumer   // nil until a filter authenticated
	Credential *Credential // nil also for an anonymous consumer

	// Session counts the bytes of a connection that carries no HTTP; nil for everything else.
	Session *Session

	// Captures holds what the route's regex captured.
	Captures Captures

	// Directory is who is known, as of the revision that serves this exchange.
	Directory Directory
	Revision  uint64

	// Model is what a call to a language model was, once it is over.
	Model ModelUse

	Times  Times
	Reason string // why the gate answered itself; "" when the upstream did
	// Decided is the filter that answered in the request phase; empty: none did.
	Decided Decided

	engine Engine
	values []value
	extra  []LogField
	text   []byte
}

// Session is the bytes of a connection that carries no HTTP, complete in the log phase.
type Session struct {
	Received, Sent                 int64 // from and to the client
	UpstreamReceived, UpstreamSent int64
}

// Request is the request as filters left it. Path and Query are what the client asked;
// where the request goes is in Exchange.Upstream.
type Request struct {
	Method  string
	Scheme  string // "http" or "https": how the client reached the gate
	Host    string // authority as sent, with its port if any
	Target  string // request target as sent
	Path    string // path of the target as sent, without query
	Query   string // without "?"
	HasBody bool
	Length  int64 // bytes of the body; -1 unknown, 0 none
	Major   int   // HTTP version
	Minor   int
	Header  Header
	TLS     *tls.ConnectionState // nil on a plain connection
	Size    int64                // bytes received so far, head and body

	// ForwardedProto, ForwardedHost and ForwardedPort are what a trusted proxy said, else
	// what the gate saw.
	ForwardedProto string
	ForwardedHost  string
	ForwardedPort  uint16
}

// Upstream is where the request goes. Request filters may change it.
type Upstream struct {
	Method string // "": the client's
	Scheme string // http, https, grpc, grpcs
	Host   string // Host line for the upstream; "": decided by the gate
	// Authority is host:port of a server that is asked instead of the service's, by Scheme.
	Authority string
	Path      string // as it will be escaped and sent
	Query     string
	Tries     []Try
}

// Target is ip:port of the last try; "" before.
func (u *Upstream) Target() string {
	if len(u.Tries) == 0 {
		return ""
	}
	return u.Tries[len(u.Tries)-1].Addr.String()
}

// Try is one attempt to reach an upstream.
type Try struct {
	Addr      netip.AddrPort
	Start     time.Time
	Duration  time.Duration // to choose and connect
	State     string        // "", "failed", "next"
	Code      int
	Keepalive bool
}

// Decided names the configuration of a plugin that answered a request, or says more of why the
// gate did.
type Decided struct {
	Plugin string // "rate-limiting"
	ID     string // of the plugin entity
	Detail string // of a block: until when, by whom, because of what
}

// Source says who made an answer.
type Source uint8

// Who made an answer.
const (
	FromGate Source = iota
	FromUpstream
)

// Response is the answer on its way to the client.
type Response struct {
	Status int
	Header Header
	Source Source
	Length int64 // bytes of the body; -1 unknown
	Size   int64 // bytes sent so far, head and body

	// UpstreamStatus is the status of each try that got one, comma-separated, for logs.
	UpstreamStatus string

	rewrite []func([]byte) []byte
	edits   []func([]byte, bool) []byte
	ends    []func(*Header) []byte
}

// Rewrite has the whole body of the answer passed through edit before it is sent: the gate
// buffers it and corrects its length. Only for OnResponse, and only where streaming is not
// wanted.
func (r *Response) Rewrite(edit func(body []byte) []byte) { r.rewrite = append(r.rewrite, edit) }

// Rewrites returns what Rewrite registered, for the engine.
func (r *Response) Rewrites() []func([]byte) []byte { return r.rewrite }

// Edit has the body of the answer pass through edit piece by piece, as it comes; last is true
// with the last piece, which may be empty. What edit returns is sent at once. Only for
// OnResponse; an answer that is also rewritten is not edited.
func (r *Response) Edit(edit func(piece []byte, last bool) []byte) { r.edits = append(r.edits, edit) }

// Edits returns what Edit registered, for the engine.
func (r *Response) Edits() []func([]byte, bool) []byte { return r.edits }

// EditTrailer has the trailer of an edited answer pass through edit once its body has ended. What
// edit returns is sent as the end of the body; what it leaves in t is sent as the trailer.
func (r *Response) EditTrailer(edit func(t *Header) (tail []byte)) { r.ends = append(r.ends, edit) }

// TrailerEdits returns what EditTrailer registered, for the engine.
func (r *Response) TrailerEdits() []func(*Header) []byte { return r.ends }

// ModelUse is a call to a language model, for metrics. One without a provider is none.
type ModelUse struct {
	Provider, Name                 string
	PromptTokens, CompletionTokens int64
	Cost                           float64
	Latency                        time.Duration
}

// Times are the moments of an exchange; a zero one was not reached.
type Times struct {
	Start     time.Time // first byte of the request
	Proxied   time.Time // filters passed, upstream chosen
	FirstByte time.Time // head of the upstream's answer
	End       time.Time // last byte sent
}

// Captures holds the groups of the regex by which a path matched.
type Captures struct {
	Whole   string   // the part of the path that matched
	Names   []string // "" for a group without a name
	Values  []string // group n at n-1
	Missing uint64   // bit n-1: group n took no part in the match
}

// Lookup returns the named group, if it took part in the match.
func (c Captures) Lookup(name string) (string, bool) {
	for i, n := range c.Names {
		if n == name {
			return c.Group(i + 1)
		}
	}
	return "", false
}

// Group returns group n, if it took part in the match. Group 0 is all that matched; there is
// none without other groups.
func (c Captures) Group(n int) (string, bool) {
	if n == 0 && len(c.Values) > 0 {
		return c.Whole, true
	}
	if n < 1 || n > len(c.Values) || c.Missing&(1<<(n-1)) != 0 {
		return "", false
	}
	return c.Values[n-1], true
}

// Engine is the connection's side of an exchange.
type Engine interface {
	// Context ends when the client goes away or the gate gives up.
	Context() context.Context
	// ReadBody reads the request's whole body, at most limit bytes (0: the gate's bound).
	ReadBody(limit int64) ([]byte, error)
	// SetBody replaces the request's body.
	SetBody(b []byte)
}

// Bind ties the exchange to its connection and clears what an earlier exchange left.
func (x *Exchange) Bind(e Engine) {
	x.ID, x.Peer, x.Client, x.Local = "", netip.AddrPort{}, netip.Addr{}, netip.AddrPort{}
	header := x.Request.Header
	header.Reset()
	x.Request = Request{Header: header}
	header = x.Response.Header
	header.Reset()
	x.Response = Response{Header: header, rewrite: x.Response.rewrite[:0], edits: x.Response.edits[:0], ends: x.Response.ends[:0]}
	x.Upstream = Upstream{Tries: x.Upstream.Tries[:0]}
	x.Early.Reset()
	x.Route, x.Service, x.Consumer, x.Credential, x.Session = nil, nil, nil, nil, nil
	x.Captures, x.Directory, x.Revision = Captures{Values: x.Captures.Values[:0]}, nil, 0
	x.Times, x.Reason, x.Decided, x.Model = Times{}, "", Decided{}, ModelUse{}
	clear(x.values)
	x.values = x.values[:0]
	x.extra = x.extra[:0]
	x.text = x.text[:0]
	x.engine = e
}

// Context ends when the client goes away or the gate gives up. It may allocate: filters that
// do not wait for anything do not ask for it.
func (x *Exchange) Context() context.Context { return x.engine.Context() }

// ReadBody reads the request's whole body, at most limit bytes (0: the gate's bound), and
// keeps it for the upstream. Later calls return the same bytes. A longer body is
// ErrBodyTooLarge.
func (x *Exchange) ReadBody(limit int64) ([]byte, error) { return x.engine.ReadBody(limit) }

// SetBody replaces the request's body and its length.
func (x *Exchange) SetBody(b []byte) {
	x.engine.SetBody(b)
	x.Request.Length, x.Request.HasBody = int64(len(b)), true
}

type value struct{ key, val any }

// Put keeps a value for a later phase of the same filter. Keys are pointers: usually the
// filter itself.
func (x *Exchange) Put(key, val any) {
	for i := range x.values {
		if x.values[i].key == key {
			x.values[i].val = val
			return
		}
	}
	x.values = append(x.values, value{key, val})
}

// Value returns what Put kept, or nil.
func (x *Exchange) Value(key any) any {
	for i := range x.values {
		if x.values[i].key == key {
			return x.values[i].val
		}
	}
	return nil
}

// Text copies b into memory of the exchange and returns it as a string, so that a filter can
// make header values without an allocation. It is valid until OnLog returns.
func (x *Exchange) Text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	from := len(x.text)
	x.text = append(x.text, b...)
	return unsafe.String(&x.text[from], len(b))
}

// Decimal is Text of n in decimal.
func (x *Exchange) Decimal(n int64) string {
	var b [20]byte
	return x.Text(strconv.AppendInt(b[:0], n, 10))
}

// LogField is one top-level member that a filter adds to log entries. JSON is its encoded
// value.
type LogField struct {
	Name string
	JSON []byte
}

// AddLogField adds a member to the exchange's log entry.
func (x *Exchange) AddLogField(name string, json []byte) {
	x.extra = append(x.extra, LogField{name, json})
}

// LogFields returns what AddLogField added.
func (x *Exchange) LogFields() []LogField { return x.extra }
