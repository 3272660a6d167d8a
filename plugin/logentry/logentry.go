// Package logentry renders a finished exchange as the JSON object that Kong's log plugins
// send, with its exact member names.
//
// It knows the entry's form; where entries go is a plugin's. It is no plugin. Enter at Append,
// or at Compile for configurations with fields of their own.
package logentry

import (
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Workspace is the id of the one workspace there is, as entries name it.
const Workspace = "00000000-0000-0000-0000-000000000000"

// Append appends the entry of x to b. It allocates nothing but what b needs to grow, unless
// the query has escapes.
func Append(b []byte, x *plugin.Exchange) []byte {
	if x.Session != nil {
		return appendSession(b, x)
	}
	b = appendRequest(append(b, '{'), x)
	b = append(b, `,"upstream_uri":`...)
	b = appendUpstreamURI(b, x)
	b = appendString(append(b, `,"upstream_status":`...), x.Response.UpstreamStatus)
	b = appendResponse(b, x)
	b = appendLatencies(b, x)
	if x.Route != nil {
		b = appendTries(b, x.Upstream.Tries)
	}
	b = appendIdentity(b, x)
	b = appendClient(b, x)
	b = append(b, `,"source":"`...)
	if x.Response.Source == plugin.FromUpstream {
		b = append(b, `upstream"`...)
	} else {
		b = append(b, `kong"`...)
	}
	return appendEnd(b, x)
}

func appendClient(b []byte, x *plugin.Exchange) []byte {
	b = append(b, `,"client_ip":"`...)
	b = x.Client.Unmap().AppendTo(b)
	b = append(b, `","started_at":`...)
	return strconv.AppendInt(b, x.Times.Start.UnixMilli(), 10)
}

// appendEnd appends what all entries end with.
func appendEnd(b []byte, x *plugin.Exchange) []byte {
	b = append(b, `,"workspace":"`+Workspace+`","workspace_name":"default"`...)
	for _, f := range x.LogFields() {
		b = appendString(append(b, ','), f.Name)
		b = append(append(b, ':'), f.JSON...)
	}
	return append(b, '}')
}

func appendUpstreamURI(b []byte, x *plugin.Exchange) []byte {
	if x.Route == nil {
		return append(b, `""`...)
	}
	b = append(b, '"')
	b = appendText(b, x.Upstream.Path)
	if x.Upstream.Query != "" {
		b = appendText(append(b, '?'), x.Upstream.Query)
	}
	return append(b, '"')
}

func appendResponse(b []byte, x *plugin.Exchange) []byte {
	b = append(b, `,"response":{"status":`...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, &x.Response.Header, "", false)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, x.Response.Size, 10)
	return append(b, '}')
}

func appendLatencies(b []byte, x *plugin.Exchange) []byte {
	l := x.Latencies()
	b = append(b, `,"latencies":{"kong":`...)
	b = strconv.AppendInt(b, l.Gate.Milliseconds(), 10)
	b = append(b, `,"proxy":`...)
	if l.Proxy < 0 {
		b = append(b, "-1"...)
	} else {
		b = strconv.AppendInt(b, l.Proxy.Milliseconds(), 10)
	}
	b = append(b, `,"request":`...)
	b = strconv.AppendInt(b, l.Request.Milliseconds(), 10)
	b = append(b, `,"receive":`...)
	b = strconv.AppendInt(b, l.Receive.Milliseconds(), 10)
	return append(b, '}')
}

func appendTries(b []byte, tries []plugin.Try) []byte {
	b = append(b, `,"tries":[`...)
	for i := range tries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTry(b, &tries[i])
	}
	return append(b, ']')
}

func appendTry(b []byte, t *plugin.Try) []byte {
	b = append(b, `{"balancer_start":`...)
	b = strconv.AppendInt(b, t.Start.UnixMilli(), 10)
	b = append(b, `,"balancer_start_ns":`...)
	b = strconv.AppendInt(b, t.Start.UnixNano(), 10)
	b = append(b, `,"balancer_latency":`...)
	b = strconv.AppendInt(b, t.Duration.Milliseconds(), 10)
	b = append(b, `,"balancer_latency_ns":`...)
	b = strconv.AppendInt(b, int64(t.Duration/time.Nanosecond), 10)
	b = append(b, `,"ip":"`...)
	if t.Addr.IsValid() {
		b = t.Addr.Addr().Unmap().AppendTo(b)
	}
	b = append(b, `","port":`...)
	b = strconv.AppendUint(b, uint64(t.Addr.Port()), 10)
	if t.State != "" {
		b = appendString(append(b, `,"state":`...), t.State)
	}
	if t.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(t.Code), 10)
	}
	if t.Keepalive {
		b = append(b, `,"keepalive":true`...)
	}
	return append(b, '}')
}

func appendIdentity(b []byte, x *plugin.Exchange) []byte {
	if c := x.Credential; c != nil {
		b = appendString(append(b, `,"authenticated_entity":{"id":`...), c.ID)
		if c.Consumer != nil {
			b = appendString(append(b, `,"consumer_id":`...), c.Consumer.ID)
		}
		b = append(b, '}')
	}
	if x.Route != nil {
		b = appendEntity(b, `,"route":`, x.Route.JSON)
	}
	if x.Service != nil {
		b = appendEntity(b, `,"service":`, x.Service.JSON)
	}
	if x.Consumer != nil {
		b = appendEntity(b, `,"consumer":`, x.Consumer.JSON)
	}
	return b
}

func appendEntity(b []byte, name string, json []byte) []byte {
	if len(json) == 0 {
		return b
	}
	return append(append(b, name...), json...)
}
