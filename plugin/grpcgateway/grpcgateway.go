// Package grpcgateway offers a gRPC service as REST, by the google.api.http options of its .proto
// file.
//
// It knows paths, arguments and statuses; package rpc reads the file and translates messages, and
// the gate carries the call upstream as gRPC. Enter at Definition.
package grpcgateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/rpc"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New makes the filter. The .proto file is read by the first call.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{log: h.Logger()}
	if path := c.GetProto(); path != "" {
		file := rpc.Open(path)
		f.bindings = sync.OnceValues(func() ([]*binding, error) { return read(file) })
	}
	return f, nil
}

type filter struct {
	log      *slog.Logger
	bindings func() ([]*binding, error) // nil: there is no file
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

var errNoProto = errors.New("transcoding requests require a .proto file defining the service")

// OnRequest answers preflights and makes a call of the request.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	x.Early.Set("Access-Control-Allow-Origin", "*")
	if x.Request.Method == http.MethodOptions {
		x.Early.Set("Access-Control-Allow-Methods", "GET,POST,PATCH,DELETE")
		x.Early.Set("Access-Control-Allow-Headers", "content-type")
		return plugin.Exit(http.StatusOK, "application/json", "OK")
	}
	b, values, err := f.find(x)
	if err != nil {
		return f.refuse(err)
	}
	body, err := x.ReadBody(0)
	if errors.Is(err, plugin.ErrBodyTooLarge) {
		return plugin.Deny(http.StatusRequestEntityTooLarge, "").Because("body-too-large")
	}
	if err != nil {
		return plugin.Deny(http.StatusBadRequest, "").Because("body-unreadable")
	}
	message, err := b.message(values, x.Request.Query, body)
	if err != nil {
		return f.refuse(err)
	}
	x.SetBody(rpc.AppendFrame(nil, 0, message))
	x.Request.Header.Set("Content-Type", "application/grpc")
	x.Request.Header.Set("TE", "trailers")
	x.Upstream.Method, x.Upstream.Path, x.Upstream.Query = http.MethodPost, b.method.Path, ""
	x.Put(f, &call{method: b.method, log: f.log})
	return plugin.Next
}

func (f *filter) refuse(err error) plugin.Verdict {
	f.log.Error("translate to grpc", "plugin", "grpc-gateway", "error", err)
	return plugin.Exit(http.StatusBadRequest, "", err.Error()).Because("not-offered")
}

// find returns the method that a request is bound to, and what its path says.
func (f *filter) find(x *plugin.Exchange) (*binding, map[string]string, error) {
	if f.bindings == nil {
		return nil, nil, errNoProto
	}
	all, err := f.bindings()
	if err != nil {
		return nil, nil, err
	}
	known := false
	for _, b := range all {
		if b.verb != x.Request.Method {
			continue
		}
		known = true
		if values, ok := b.match(x.Request.Path); ok {
			return b, values, nil
		}
	}
	if !known {
		return nil, nil, fmt.Errorf("failed to transcode .proto file Unknown method %q", x.Request.Method)
	}
	return nil, nil, fmt.Errorf("failed to transcode .proto file Unknown path %q", x.Request.Path)
}

// statuses are those of HTTP by those of gRPC, as Kong 3.9.1 has them.
var statuses = map[int]int{
	0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 500, 13: 500, 14: 503, 15: 500, 16: 401,
}

// OnResponse makes JSON of the answer. An answer that is a trailer alone tells its status.
func (f *filter) OnResponse(x *plugin.Exchange) {
	c, ok := x.Value(f).(*call)
	if !ok {
		return
	}
	x.Response.Header.Set("Content-Type", "application/json")
	if x.Response.Source != plugin.FromUpstream {
		return
	}
	if told, there := x.Response.Header.Lookup("Grpc-Status"); there {
		n, err := strconv.Atoi(told)
		status, known := statuses[n]
		if err != nil || !known {
			f.log.Warn("grpc-status has no status of HTTP", "plugin", "grpc-gateway", "grpc_status", told)
			status = http.StatusInternalServerError
		}
		x.Response.Status = status
	}
	x.Response.Header.Del("Content-Length")
	x.Response.Edit(c.answer)
	// A client of REST looks for no trailer: the gate may send none.
	x.Response.EditTrailer(func(t *plugin.Header) []byte {
		t.Reset()
		return nil
	})
}

// call is one call on its way.
type call struct {
	method *rpc.Method
	rest   []byte // of a message
	log    *slog.Logger
}

// answer makes a piece of JSON of a piece of the answer. What is no message at its end is passed
// on as it is.
func (c *call) answer(piece []byte, last bool) []byte {
	c.rest = append(c.rest, piece...)
	var out []byte
	for {
		message, rest, ok := rpc.NextFrame(c.rest)
		if !ok {
			break
		}
		json, err := c.method.Response(message)
		if err != nil {
			c.log.Error("translate from grpc", "plugin", "grpc-gateway", "error", err)
			return out
		}
		out = append(out, json...)
		c.rest = append(c.rest[:0], rest...)
	}
	if last && len(out) == 0 {
		return c.rest
	}
	return out
}
