// Package logentry encodes a finished exchange as the JSON object that Kong 3.9.1's log
// plugins write: one encoder for all of them.
//
// It knows exchanges and the entry's members; where entries go is a plugin's. Enter at Append.
package logentry

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// workspace is the id of the one workspace there is. Kong draws it at its first start.
const workspace = "9b21a7b4-6c3d-4b4e-9d3a-0f6f7f5f3c11"

// Append appends the entry of an exchange to b, without a newline. It is for the log phase
// and does not allocate beyond b's growth.
func Append(b []byte, x *plugin.Exchange) []byte {
	b = append(b, `{"request":`...)
	b = appendRequest(b, x)
	b = append(b, `,"upstream_uri":`...)
	b = appendUpstreamURI(b, x)
	b = append(b, `,"upstream_status":`...)
	b = appendString(b, x.Response.UpstreamStatus)
	b = append(b, `,"response":{"status":`...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, &x.Response.Header)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, x.Response.Size, 10)
	b = append(b, '}')
	b = appendLatencies(b, x)
	b = appendTries(b, x)
	b = appendWho(b, x)
	b = append(b, `,"client_ip":"`...)
	b = appendAddr(b, x.Client)
	b = append(b, `","started_at":`...)
	b = strconv.AppendInt(b, x.Times.Start.UnixMilli(), 10)
	source := "kong"
	if x.Response.Source == plugin.FromUpstream {
		source = "upstream"
	}
	b = append(b, `,"source":"`...)
	b = append(b, source...)
	b = append(b, `","workspace":"`+workspace+`","workspace_name":"default"`...)
	for _, f := range x.LogFields() {
		b = append(b, ',')
		b = appendString(b, f.Name)
		b = append(b, ':')
		b = append(b, f.JSON...)
	}
	return append(b, '}')
}

func appendRequest(b []byte, x *plugin.Exchange) []byte {
	r := &x.Request
	b = append(b, `{"id":`...)
	b = appendString(b, x.ID)
	b = append(b, `,"uri":`...)
	b = appendString(b, r.Target)
	b = append(b, `,"url":"`...)
	b = append(b, r.Scheme...)
	b = append(b, "://"...)
	b = appendEscaped(b, hostOnly(r.Host))
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(x.Local.Port()), 10)
	b = appendEscaped(b, r.Target)
	b = append(b, `","querystring":`...)
	b = appendQuery(b, r.Query)
	b = append(b, `,"method":`...)
	b = appendString(b, r.Method)
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, &r.Header)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, r.Size, 10)
	if r.TLS != nil {
		b = appendTLS(b, r.TLS)
	}
	return append(b, '}')
}

// hostOnly is an authority without its port.
func hostOnly(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i]
	}
	return host
}

func appendUpstreamURI(b []byte, x *plugin.Exchange) []byte {
	b = append(b, '"')
	if x.Service != nil {
		b = appendEscaped(b, x.Upstream.Path)
		if x.Upstream.Query != "" {
			b = append(b, '?')
			b = appendEscaped(b, x.Upstream.Query)
		}
	}
	return append(b, '"')
}

func appendLatencies(b []byte, x *plugin.Exchange) []byte {
	l := x.Latencies()
	proxy := int64(-1)
	if l.Proxy >= 0 {
		proxy = l.Proxy.Milliseconds()
	}
	for _, v := range [...]struct {
		name string
		ms   int64
	}{
		{`,"latencies":{"kong":`, l.Gate.Milliseconds()}, {`,"proxy":`, proxy},
		{`,"request":`, l.Request.Milliseconds()}, {`,"receive":`, l.Receive.Milliseconds()},
	} {
		b = append(b, v.name...)
		b = strconv.AppendInt(b, v.ms, 10)
	}
	return append(b, '}')
}

func appendTries(b []byte, x *plugin.Exchange) []byte {
	b = append(b, `,"tries":[`...)
	for i := range x.Upstream.Tries {
		t := &x.Upstream.Tries[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"balancer_start":`...)
		b = strconv.AppendInt(b, t.Start.UnixMilli(), 10)
		b = append(b, `,"balancer_start_ns":`...)
		b = strconv.AppendInt(b, t.Start.UnixNano(), 10)
		b = append(b, `,"balancer_latency":`...)
		b = strconv.AppendInt(b, t.Duration.Milliseconds(), 10)
		b = append(b, `,"balancer_latency_ns":`...)
		b = strconv.AppendInt(b, t.Duration.Nanoseconds(), 10)
		b = append(b, `,"ip":"`...)
		b = appendAddr(b, t.Addr.Addr())
		b = append(b, `","port":`...)
		b = strconv.AppendUint(b, uint64(t.Addr.Port()), 10)
		if t.State != "" {
			b = append(b, `,"state":`...)
			b = appendString(b, t.State)
			b = append(b, `,"code":`...)
			b = strconv.AppendInt(b, int64(t.Code), 10)
		}
		b = append(b, `,"keepalive":`...)
		b = strconv.AppendBool(b, t.Keepalive)
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendWho appends whom the request came from and where it went.
func appendWho(b []byte, x *plugin.Exchange) []byte {
	if c := x.Credential; c != nil {
		b = append(b, `,"authenticated_entity":{"id":`...)
		b = appendString(b, c.ID)
		if c.Consumer != nil {
			b = append(b, `,"consumer_id":`...)
			b = appendString(b, c.Consumer.ID)
		}
		b = append(b, '}')
	}
	if x.Route != nil {
		b = append(append(b, `,"route":`...), x.Route.JSON...)
	}
	if x.Service != nil {
		b = append(append(b, `,"service":`...), x.Service.JSON...)
	}
	if x.Consumer != nil {
		b = append(append(b, `,"consumer":`...), x.Consumer.JSON...)
	}
	return b
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return a.Unmap().AppendTo(b)
}
