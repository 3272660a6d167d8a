package zipkin

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/tracing"
)

// span is one of Zipkin's second interface. Times are microseconds.
type span struct {
	TraceID     string            `json:"traceId"`
	Name        string            `json:"name"`
	ParentID    string            `json:"parentId,omitempty"`
	ID          string            `json:"id"`
	Kind        string            `json:"kind"`
	Timestamp   int64             `json:"timestamp"`
	Duration    int64             `json:"duration"`
	Local       endpoint          `json:"localEndpoint"`
	Remote      *endpoint         `json:"remoteEndpoint,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Annotations []annotation      `json:"annotations,omitempty"`
}

type endpoint struct {
	ServiceName string `json:"serviceName,omitempty"`
	IPv4        string `json:"ipv4,omitempty"`
	IPv6        string `json:"ipv6,omitempty"`
	Port        uint16 `json:"port,omitempty"`
}

type annotation struct {
	Value     string `json:"value"`
	Timestamp int64  `json:"timestamp"`
}

// teller says what spans say. It is immutable, and the key of what it keeps in an exchange.
type teller struct {
	node, local, service string
	static               []*Config_Tag
	tagsHeader           string
	withPath             bool
	credential           bool
	annotate             bool // times of phases are annotations, not tags
}

func newTeller(c *Config, node string) *teller {
	t := &teller{
		node: node, local: "kong", service: c.GetDefaultServiceName(), static: c.GetStaticTags(), tagsHeader: "Zipkin-Tags",
		withPath: c.GetHttpSpanName() == "method_path", credential: c.IncludeCredential == nil || c.GetIncludeCredential(),
		annotate: c.GetPhaseDurationFlavor() != "tags",
	}
	if c.LocalServiceName != nil {
		t.local = c.GetLocalServiceName()
	}
	if c.TagsHeader != nil {
		t.tagsHeader = c.GetTagsHeader()
	}
	return t
}

// note keeps the tags that the client sent, before other filters change the head.
func (t *teller) note(x *plugin.Exchange) {
	if text := x.Request.Header.Get(t.tagsHeader); text != "" {
		x.Put(t, strings.Clone(text))
	}
}

// spans are those of a finished exchange, encoded.
func (t *teller) spans(x *plugin.Exchange, v *tracing.Visit) [][]byte {
	name := x.Request.Method
	if t.withPath {
		name += " " + x.Request.Path
	}
	var all [][]byte
	for i := range x.Upstream.Tries {
		all = append(all, encode(t.try(x, v, name, i)))
	}
	return append(all, encode(t.proxy(x, v, name)), encode(t.server(x, v, name)))
}

func encode(s *span) []byte {
	for name, value := range s.Tags {
		if value == "" { // Zipkin has no empty ones
			delete(s.Tags, name)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return []byte("null") // texts and numbers encode
	}
	return b
}

func (t *teller) span(s *tracing.Span, kind, name string, from, to time.Time) *span {
	out := &span{
		Name: name, Kind: kind, ID: hex.EncodeToString(s.ID[:]), Timestamp: from.UnixMicro(), Duration: max(to.Sub(from).Microseconds(), 0),
		Local: endpoint{ServiceName: t.local}, Tags: map[string]string{},
	}
	out.TraceID = hex.EncodeToString(s.Trace[:])
	if s.Short {
		out.TraceID = out.TraceID[16:]
	}
	if s.Parent != (tracing.SpanID{}) {
		out.ParentID = hex.EncodeToString(s.Parent[:])
	}
	return out
}

// server is the span of the exchange.
func (t *teller) server(x *plugin.Exchange, v *tracing.Visit, name string) *span {
	s := t.span(&v.Server, "SERVER", name, x.Times.Start, x.Times.End)
	s.Remote = remote(x.Client, x.Peer.Port(), t.service)
	host, _, _ := strings.Cut(x.Request.Host, ":")
	s.Tags = map[string]string{
		"lc": "kong", "http.method": x.Request.Method, "http.host": host, "http.path": x.Request.Path,
		"http.protocol":    "HTTP/" + protocol(x),
		"http.status_code": strconv.Itoa(x.Response.Status), "kong.node.id": t.node,
	}
	for _, tag := range t.static {
		s.Tags[tag.GetName()] = tag.GetValue()
	}
	text, _ := x.Value(t).(string)
	for one := range strings.SplitSeq(text, ";") {
		if k, value, ok := strings.Cut(one, "="); ok && strings.TrimSpace(k) != "" {
			s.Tags[strings.TrimSpace(k)] = strings.TrimSpace(value)
		}
	}
	if x.Consumer != nil {
		s.Tags["kong.consumer"] = x.Consumer.ID
	}
	if t.credential && x.Credential != nil {
		s.Tags["kong.credential"] = x.Credential.ID
	}
	if t.annotate {
		s.Annotations = []annotation{{"krs", s.Timestamp}}
	}
	return s
}

func protocol(x *plugin.Exchange) string {
	if x.Request.Major >= 2 {
		return strconv.Itoa(x.Request.Major)
	}
	return "1." + strconv.Itoa(x.Request.Minor)
}

// proxy is the span of all that was done for the upstream.
func (t *teller) proxy(x *plugin.Exchange, v *tracing.Visit, name string) *span {
	s := t.span(&v.Client, "CLIENT", name+" (proxy)", x.Times.Start, x.Times.End)
	name = t.route(s, x)
	var address netip.AddrPort
	if n := len(x.Upstream.Tries); n > 0 {
		address = x.Upstream.Tries[n-1].Addr
		if x.Service != nil {
			s.Tags["peer.hostname"] = x.Service.Host
		}
	}
	s.Remote = remote(address.Addr(), address.Port(), name)
	l := x.Latencies()
	if !t.annotate {
		s.Tags["kong.access.duration_ms"] = strconv.FormatInt(l.Gate.Milliseconds(), 10)
		return s
	}
	at := func(name string, moment time.Time) {
		if !moment.IsZero() {
			s.Annotations = append(s.Annotations, annotation{name, moment.UnixMicro()})
		}
	}
	at("kas", x.Times.Start)
	at("kaf", x.Times.Proxied)
	at("khs", x.Times.FirstByte)
	at("khf", x.Times.FirstByte)
	at("kbs", x.Times.FirstByte)
	at("kbf", x.Times.End)
	return s
}

// try is the span of one try to reach the upstream.
func (t *teller) try(x *plugin.Exchange, v *tracing.Visit, name string, i int) *span {
	try := &x.Upstream.Tries[i]
	place := v.Server
	place.Parent, place.ID = v.Server.ID, tracing.NewSpanID()
	s := t.span(&place, "CLIENT", name+" (balancer try "+strconv.Itoa(i+1)+")", try.Start, try.Start.Add(try.Duration))
	s.Remote = remote(try.Addr.Addr(), try.Addr.Port(), t.route(s, x))
	s.Tags["kong.balancer.try"] = strconv.Itoa(i + 1)
	if i < len(x.Upstream.Tries)-1 {
		s.Tags["error"], s.Tags["kong.balancer.state"] = "true", try.State
		if try.Code != 0 {
			s.Tags["http.status_code"] = strconv.Itoa(try.Code)
		}
	}
	return s
}

// route tags a span with service and route, and returns the service's name.
func (t *teller) route(s *span, x *plugin.Exchange) string {
	name := t.service
	if x.Service != nil {
		s.Tags["kong.service"], s.Tags["kong.service_name"] = x.Service.ID, x.Service.Name
		if x.Service.Name != "" {
			name = x.Service.Name
		}
	}
	if x.Route != nil {
		s.Tags["kong.route"], s.Tags["kong.route_name"] = x.Route.ID, x.Route.Name
	}
	return name
}

func remote(addr netip.Addr, port uint16, name string) *endpoint {
	if port == 0 && name == "" {
		return nil
	}
	e := &endpoint{ServiceName: name, Port: port}
	switch addr = addr.Unmap(); {
	case !addr.IsValid():
	case addr.Is4():
		e.IPv4 = addr.String()
	default:
		e.IPv6 = addr.String()
	}
	return e
}
