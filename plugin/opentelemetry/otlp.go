package opentelemetry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/tracing"
)

// The fields of OTLP's messages (opentelemetry.proto.trace.v1 and common.v1) that are written
// here. The stability of OTLP 1.0 holds their numbers.
const (
	requestResourceSpans = 1
	spansResource        = 1
	spansScopeSpans      = 2
	resourceAttributes   = 1
	scopeSpansScope      = 1
	scopeSpansSpans      = 2
	scopeName            = 1
	spanTraceID          = 1
	spanSpanID           = 2
	spanParentID         = 4
	spanName             = 5
	spanKind             = 6
	spanStart            = 7
	spanEnd              = 8
	spanAttributes       = 9
	spanStatus           = 15
	statusCode           = 3
	pairKey              = 1
	pairValue            = 2
	valueText            = 1
	valueInt             = 3

	kindServer  = 2
	kindClient  = 3
	statusError = 2
)

// appendMessage appends a field that is a message; inside appends what is in it.
func appendMessage(b []byte, field protowire.Number, inside func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	// Most are shorter than 128 bytes, so one byte is left for the length and the rest moved
	// when it takes more.
	at := len(b)
	b = inside(append(b, 0))
	n := len(b) - at - 1
	if n < 128 {
		b[at] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, make([]byte, more)...)
	copy(b[at+1+more:], b[at+1:at+1+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// appendText appends a text; bytes that are not UTF-8 would make the whole post unreadable.
func appendText(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(v, "\ufffd"))
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(t.UnixNano()))
}

// pair appends an attribute that is a text, unless there is none.
func pair(b []byte, field protowire.Number, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendMessage(b, field, func(b []byte) []byte {
		b = appendText(b, pairKey, key)
		return appendMessage(b, pairValue, func(b []byte) []byte { return appendText(b, valueText, value) })
	})
}

func pairInt(b []byte, field protowire.Number, key string, value int64) []byte {
	return appendMessage(b, field, func(b []byte) []byte {
		b = appendText(b, pairKey, key)
		return appendMessage(b, pairValue, func(b []byte) []byte { return appendInt(b, valueInt, value) })
	})
}

// appendRequest appends a whole post. Each of spans is encoded as a field of its scope.
func appendRequest(b, resource []byte, spans [][]byte) []byte {
	return appendMessage(b, requestResourceSpans, func(b []byte) []byte {
		b = append(b, resource...)
		return appendMessage(b, spansScopeSpans, func(b []byte) []byte {
			b = appendMessage(b, scopeSpansScope, func(b []byte) []byte { return appendText(b, scopeName, "kong-internal") })
			for _, s := range spans {
				b = append(b, s...)
			}
			return b
		})
	})
}

// appendResource appends who posts. What is configured wins; an empty value takes one out.
func appendResource(b []byte, attributes map[string]string, node string) []byte {
	all := map[string]string{"service.name": "kong", "service.version": "3.9.1", "service.instance.id": node}
	maps.Copy(all, attributes)
	return appendMessage(b, spansResource, func(b []byte) []byte {
		for _, key := range slices.Sorted(maps.Keys(all)) {
			b = pair(b, resourceAttributes, key, all[key])
		}
		return b
	})
}

func appendIDs(b []byte, s *tracing.Span) []byte {
	b = appendBytes(b, spanTraceID, s.Trace[:])
	b = appendBytes(b, spanSpanID, s.ID[:])
	if s.Parent != (tracing.SpanID{}) {
		b = appendBytes(b, spanParentID, s.Parent[:])
	}
	return b
}

// appendServerSpan appends the span of the exchange, with Kong's names.
func appendServerSpan(b []byte, x *plugin.Exchange, v *tracing.Visit) []byte {
	return appendMessage(b, scopeSpansSpans, func(b []byte) []byte {
		q := &x.Request
		b = appendIDs(b, &v.Server)
		b = appendText(b, spanName, "kong")
		b = appendInt(b, spanKind, kindServer)
		b = appendTime(b, spanStart, x.Times.Start)
		b = appendTime(b, spanEnd, x.Times.End)
		b = pair(b, spanAttributes, "http.method", q.Method)
		b = pair(b, spanAttributes, "http.url", q.Scheme+"://"+q.Host+q.Target)
		b = pair(b, spanAttributes, "http.host", q.Host)
		b = pair(b, spanAttributes, "http.scheme", q.Scheme)
		b = pair(b, spanAttributes, "http.flavor", string([]byte{byte('0' + q.Major%10), '.', byte('0' + q.Minor%10)}))
		b = pair(b, spanAttributes, "http.client_ip", x.Client.Unmap().String())
		b = pair(b, spanAttributes, "net.peer.ip", x.Peer.Addr().Unmap().String())
		b = pair(b, spanAttributes, "kong.request.id", x.ID)
		if x.Route != nil {
			b = pair(b, spanAttributes, "http.route", x.Route.Label())
		}
		if x.Service != nil {
			b = pair(b, spanAttributes, "kong.service", x.Service.Label())
		}
		if x.Consumer != nil {
			b = pair(b, spanAttributes, "kong.consumer", x.Consumer.ID)
		}
		b = pairInt(b, spanAttributes, "http.status_code", int64(x.Response.Status))
		if x.Response.Status >= 500 {
			b = appendMessage(b, spanStatus, func(b []byte) []byte { return appendInt(b, statusCode, statusError) })
		}
		return b
	})
}

// appendClientSpan appends the span of the request to the upstream.
func appendClientSpan(b []byte, x *plugin.Exchange, v *tracing.Visit) []byte {
	return appendMessage(b, scopeSpansSpans, func(b []byte) []byte {
		b = appendIDs(b, &v.Client)
		b = appendText(b, spanName, "kong.balancer")
		b = appendInt(b, spanKind, kindClient)
		end := x.Times.FirstByte
		if end.IsZero() {
			end = x.Times.End
		}
		b = appendTime(b, spanStart, x.Times.Proxied)
		b = appendTime(b, spanEnd, end)
		failed := end == x.Times.End
		if n := len(x.Upstream.Tries); n > 0 {
			last := &x.Upstream.Tries[n-1]
			b = pair(b, spanAttributes, "net.peer.ip", last.Addr.Addr().Unmap().String())
			b = pairInt(b, spanAttributes, "net.peer.port", int64(last.Addr.Port()))
			b = pairInt(b, spanAttributes, "try_count", int64(n))
		}
		if failed {
			b = appendMessage(b, spanStatus, func(b []byte) []byte { return appendInt(b, statusCode, statusError) })
		}
		return b
	})
}
