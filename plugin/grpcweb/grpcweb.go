// Package grpcweb lets browsers call gRPC services: gRPC-Web, binary and as text, and JSON where a
// .proto file says what it means.
//
// It knows media types, framing and the trailer at the end of a body; a gate carries the call
// upstream as gRPC. Source: Kong 3.9.1's plugin of that name, and the protocol as gRPC's
// PROTOCOL-WEB.md has it. Enter at Definition.
package grpcweb

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/rpc"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New makes the filter. The .proto file is read by the first call that needs it.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{origin: c.GetAllowOriginHeader(), stripped: c.GetPassStrippedPath(), log: h.Logger()}
	if path := c.GetProto(); path != "" {
		f.proto = rpc.Open(path)
	}
	return f, nil
}

type filter struct {
	origin   string
	stripped bool
	proto    *rpc.File // nil: JSON is not understood
	log      *slog.Logger
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// media is what a content type says of a call.
type media struct {
	name   string
	text   bool // base64
	framed bool // messages have heads
	json   bool
}

var medias = map[string]media{
	"application/grpc-web":            {framed: true},
	"application/grpc-web+proto":      {framed: true},
	"application/grpc-web+json":       {framed: true, json: true},
	"application/grpc-web-text":       {framed: true, text: true},
	"application/grpc-web-text+proto": {framed: true, text: true},
	"application/grpc-web-text+json":  {framed: true, text: true, json: true},
	"application/json":                {json: true},
}

var errNoProto = errors.New("transcoding requests require a .proto file defining the service")

// OnRequest answers preflights and makes gRPC of a call.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	x.Early.Set("Access-Control-Allow-Origin", f.origin)
	if x.Request.Method == http.MethodOptions {
		x.Early.Set("Access-Control-Allow-Methods", "POST")
		x.Early.Set("Access-Control-Allow-Headers", "content-type,x-grpc-web,x-user-agent")
		return plugin.Exit(http.StatusOK, "application/grpc-web-text+proto", "OK")
	}
	kind := x.Request.Header.Get("Content-Type")
	c := &call{media: medias[kind], log: f.log}
	// What is no media type of these is taken for JSON, and refused where that cannot be read.
	if c.name = kind; !c.framed || c.json {
		c.json = true
		var err error
		if c.method, err = f.method(x); err != nil {
			f.log.Error("translate to grpc", "plugin", "grpc-web", "error", err)
			return plugin.Exit(http.StatusBadRequest, "", err.Error()).Because("not-grpc-web")
		}
	}
	if f.stripped {
		x.Request.Path = x.Upstream.Path
	}
	body, err := x.ReadBody(0)
	if errors.Is(err, plugin.ErrBodyTooLarge) {
		return plugin.Deny(http.StatusRequestEntityTooLarge, "").Because("body-too-large")
	}
	if err != nil {
		return plugin.Deny(http.StatusBadRequest, "").Because("body-unreadable")
	}
	if body, err = c.request(body); err != nil {
		return plugin.Exit(http.StatusBadRequest, "", err.Error()).Because("not-grpc-web")
	}
	x.SetBody(body)
	x.Request.Header.Set("Content-Type", "application/grpc")
	x.Request.Header.Set("TE", "trailers")
	x.Put(f, c)
	return plugin.Next
}

// method finds what a JSON body is of.
func (f *filter) method(x *plugin.Exchange) (*rpc.Method, error) {
	if f.proto == nil {
		return nil, errNoProto
	}
	path := x.Request.Path
	if f.stripped {
		path = x.Upstream.Path
	}
	methods, err := f.proto.Methods()
	if err != nil {
		return nil, err
	}
	m := methods[path]
	if m == nil {
		return nil, unknownMethod(path)
	}
	return m, nil
}

// unknownMethod is the path of a method that the file does not have.
type unknownMethod string

// Error has Kong's words, and its spelling.
func (m unknownMethod) Error() string { return fmt.Sprintf("Unkown path %q", string(m)) }

// OnResponse makes gRPC-Web of the answer.
func (f *filter) OnResponse(x *plugin.Exchange) {
	c, ok := x.Value(f).(*call)
	if !ok {
		return
	}
	x.Response.Header.Set("Content-Type", c.name)
	if x.Response.Source != plugin.FromUpstream || x.Request.Method != http.MethodPost {
		return
	}
	x.Response.Header.Del("Content-Length")
	x.Response.Edit(c.answer)
	c.status, c.message = x.Response.Header.Get("Grpc-Status"), x.Response.Header.Get("Grpc-Message")
	x.Response.EditTrailer(c.trailer)
}

// call is one call on its way.
type call struct {
	media
	method *rpc.Method // nil: messages pass as they are
	rest   []byte      // of a message of the answer
	log    *slog.Logger

	status, message string // of an answer that is a trailer alone
}

// request makes gRPC's body of the client's.
func (c *call) request(body []byte) ([]byte, error) {
	if c.text {
		raw, err := decodeText(body)
		if err != nil {
			return nil, fmt.Errorf("body is not base64: %w", err)
		}
		body = raw
	}
	if c.method == nil {
		return body, nil
	}
	if c.framed {
		message, _, ok := rpc.NextFrame(body)
		if !ok {
			return nil, errors.New("body has no whole message")
		}
		body = message
	}
	wire, err := c.method.Request(body)
	if err != nil {
		return nil, err
	}
	return rpc.AppendFrame(nil, 0, wire), nil
}

// decodeText reads base64 that may be of several pieces, each padded: a client that streams sends
// them so.
func decodeText(body []byte) ([]byte, error) {
	out := make([]byte, 0, base64.StdEncoding.DecodedLen(len(body)))
	for len(body) > 0 {
		if len(body) < 4 {
			return nil, base64.CorruptInputError(0)
		}
		group, err := base64.StdEncoding.AppendDecode(out, body[:4])
		if err != nil {
			return nil, err
		}
		out, body = group, body[4:]
	}
	return out, nil
}

// answer makes a piece of the client's body of gRPC's.
func (c *call) answer(piece []byte, _ bool) []byte {
	if c.method == nil {
		return c.encode(piece)
	}
	c.rest = append(c.rest, piece...)
	var out []byte
	for {
		message, rest, ok := rpc.NextFrame(c.rest)
		if !ok {
			return c.encode(out)
		}
		json, err := c.method.Response(message)
		if err != nil {
			c.log.Error("translate from grpc", "plugin", "grpc-web", "error", err)
			return c.encode(out)
		}
		if c.framed {
			out = rpc.AppendFrame(out, 0, json)
		} else {
			out = append(out, json...)
		}
		c.rest = append(c.rest[:0], rest...)
	}
}

// trailer makes the end of the client's body of gRPC's trailer, which browsers cannot read.
func (c *call) trailer(t *plugin.Header) []byte {
	status, message := c.status, c.message
	if s, ok := t.Lookup("Grpc-Status"); ok {
		status, message = s, t.Get("Grpc-Message")
	}
	if status == "" {
		status = "0"
	}
	t.Reset()
	if !c.framed {
		return nil
	}
	return c.encode(rpc.AppendFrame(nil, trailerFrame, fmt.Appendf(nil, "grpc-status:%s\r\ngrpc-message:%s\r\n", status, message)))
}

// trailerFrame flags the frame that is the trailer.
const trailerFrame = 0x80

func (c *call) encode(b []byte) []byte {
	if !c.text || len(b) == 0 {
		return b
	}
	return base64.StdEncoding.AppendEncode(nil, b)
}
