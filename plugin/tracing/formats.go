package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Format is one way to tell a trace in headers.
type Format struct {
	name    string
	extract func(h *plugin.Header, s *Span) bool
	inject  func(x *plugin.Exchange, s *Span)
	shared  bool // a span may have the caller's id
}

// formats in the order in which they are looked for when nothing is configured, as in Kong
// 3.9.1. b3-single is read with b3.
var formats = []*Format{
	{"b3-single", extractB3Single, injectB3Single, true},
	{"b3", extractB3, injectB3, true},
	{"w3c", extractW3C, injectW3C, false},
	{"jaeger", extractJaeger, injectJaeger, true},
	{"ot", extractOT, injectOT, false},
	{"datadog", extractDatadog, injectDatadog, false},
	{"aws", extractAWS, injectAWS, false},
	{"gcp", extractGCP, injectGCP, false},
}

// Told names the formats in which a head tells a trace.
func Told(h *plugin.Header) (names []string) {
	for _, f := range formats {
		var s Span
		if f.extract(h, &s) {
			names = append(names, f.name)
		}
	}
	return names
}

func formatOf(name string) *Format {
	for _, f := range formats {
		if f.name == name {
			return f
		}
	}
	return nil
}

const longest = 256 // bytes of a header that is read: no format is longer

func extractW3C(h *plugin.Header, s *Span) bool {
	// version-trace-span-flags; a version above 00 may have more behind.
	v := h.Get("traceparent")
	if len(v) < 55 || len(v) > longest || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return false
	}
	var version, flags [1]byte
	if !hexInto(version[:], v[:2]) || version[0] == 0xff || version[0] == 0 && len(v) != 55 || len(v) > 55 && v[55] != '-' {
		return false
	}
	if !s.setTrace(v[3:35]) || !setSpan(&s.ID, v[36:52]) || s.ID == (SpanID{}) || !hexInto(flags[:], v[53:55]) {
		return false
	}
	s.setSampled(flags[0]&1 == 1)
	return true
}

func injectW3C(x *plugin.Exchange, s *Span) {
	var room [55]byte
	b := hex.AppendEncode(append(room[:0], "00-"...), s.Trace[:])
	b = hex.AppendEncode(append(b, '-'), s.ID[:])
	x.Request.Header.Set("traceparent", x.Text(append(b, '-', '0', s.flag())))
}

// extractB3Single reads trace-span[-sampled[-parent]], or the sampling alone.
func extractB3Single(h *plugin.Header, s *Span) bool {
	v := h.Get("b3")
	if v == "" {
		v, _ = strings.CutPrefix(h.Get("tracestate"), "b3=")
		if v == h.Get("tracestate") {
			return false
		}
	}
	if len(v) > longest {
		return false
	}
	trace, rest, ok := strings.Cut(v, "-")
	if !ok {
		return sampling(s, trace)
	}
	id, rest, _ := strings.Cut(rest, "-")
	sampled, parent, _ := strings.Cut(rest, "-")
	if !s.setTrace(trace) || !setSpan(&s.ID, id) {
		return false
	}
	if sampled != "" && !sampling(s, sampled) {
		return false
	}
	return parent == "" || setSpan(&s.Parent, parent)
}

// sampling reads what B3 says of sampling; d, for debugging, is sampled.
func sampling(s *Span, v string) bool {
	switch v {
	case "1", "true", "d":
		s.setSampled(true)
	case "0", "false":
		s.setSampled(false)
	default:
		return false
	}
	return true
}

func injectB3Single(x *plugin.Exchange, s *Span) {
	var room [96]byte
	b := append(s.appendTrace(room[:0]), '-')
	b = append(hex.AppendEncode(b, s.ID[:]), '-', s.flag())
	if s.Parent != (SpanID{}) {
		b = hex.AppendEncode(append(b, '-'), s.Parent[:])
	}
	x.Request.Header.Set("b3", x.Text(b))
}

func extractB3(h *plugin.Header, s *Span) bool {
	said := sampling(s, h.Get("x-b3-sampled"))
	if h.Get("x-b3-flags") == "1" {
		said = true
		s.setSampled(true)
	}
	trace := h.Get("x-b3-traceid")
	if trace == "" {
		return said // the sampling alone
	}
	span, parent := h.Get("x-b3-spanid"), h.Get("x-b3-parentspanid")
	return s.setTrace(trace) && (span == "" || setSpan(&s.ID, span)) && (parent == "" || setSpan(&s.Parent, parent))
}

func injectB3(x *plugin.Exchange, s *Span) {
	h := &x.Request.Header
	var room [32]byte
	h.Set("x-b3-traceid", x.Text(s.appendTrace(room[:0])))
	h.Set("x-b3-spanid", x.Text(hex.AppendEncode(room[:0], s.ID[:])))
	if s.Parent != (SpanID{}) {
		h.Set("x-b3-parentspanid", x.Text(hex.AppendEncode(room[:0], s.Parent[:])))
	} else {
		h.Del("x-b3-parentspanid")
	}
	if h.Get("x-b3-flags") != "1" {
		h.Set("x-b3-sampled", x.Text([]byte{s.flag()}))
	}
}

// extractJaeger reads trace:span:parent:flags, whose colons may be escaped.
func extractJaeger(h *plugin.Header, s *Span) bool {
	v := h.Get("uber-trace-id")
	if v == "" || len(v) > longest {
		return false
	}
	if strings.Contains(v, "%") {
		v = strings.NewReplacer("%3A", ":", "%3a", ":").Replace(v)
	}
	trace, rest, _ := strings.Cut(v, ":")
	id, rest, _ := strings.Cut(rest, ":")
	parent, flags, ok := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(flags, 16, 8)
	if !ok || err != nil || !s.setTrace(trace) || !setSpan(&s.ID, id) {
		return false
	}
	s.setSampled(n&1 == 1)
	return parent == "" || parent == "0" || setSpan(&s.Parent, parent)
}

func injectJaeger(x *plugin.Exchange, s *Span) {
	var room [80]byte
	b := append(s.appendTrace(room[:0]), ':')
	b = append(hex.AppendEncode(b, s.ID[:]), ':')
	if s.Parent != (SpanID{}) {
		b = hex.AppendEncode(b, s.Parent[:])
	} else {
		b = append(b, '0')
	}
	x.Request.Header.Set("uber-trace-id", x.Text(append(b, ':', '0', s.flag())))
}

func extractOT(h *plugin.Header, s *Span) bool {
	sampling(s, h.Get("ot-tracer-sampled"))
	return s.setTrace(h.Get("ot-tracer-traceid")) && setSpan(&s.ID, h.Get("ot-tracer-spanid"))
}

func injectOT(x *plugin.Exchange, s *Span) {
	h := &x.Request.Header
	var room [32]byte
	h.Set("ot-tracer-traceid", x.Text(s.appendTrace(room[:0])))
	h.Set("ot-tracer-spanid", x.Text(hex.AppendEncode(room[:0], s.ID[:])))
	h.Set("ot-tracer-sampled", x.Text([]byte{s.flag()}))
}

// extractDatadog reads decimal ids of 8 bytes.
func extractDatadog(h *plugin.Header, s *Span) bool {
	v := h.Get("x-datadog-trace-id")
	if v == "" {
		return false
	}
	trace, err := strconv.ParseUint(v, 10, 64)
	if err != nil || trace == 0 {
		return false
	}
	binary.BigEndian.PutUint64(s.Trace[8:], trace)
	s.Short = true
	if id, err := strconv.ParseUint(h.Get("x-datadog-parent-id"), 10, 64); err == nil {
		binary.BigEndian.PutUint64(s.ID[:], id)
	}
	if p, err := strconv.Atoi(h.Get("x-datadog-sampling-priority")); err == nil {
		s.setSampled(p > 0)
	}
	return true
}

func injectDatadog(x *plugin.Exchange, s *Span) {
	h := &x.Request.Header
	var room [20]byte
	h.Set("x-datadog-trace-id", x.Text(strconv.AppendUint(room[:0], binary.BigEndian.Uint64(s.Trace[8:]), 10)))
	h.Set("x-datadog-parent-id", x.Text(strconv.AppendUint(room[:0], binary.BigEndian.Uint64(s.ID[:]), 10)))
	h.Set("x-datadog-sampling-priority", x.Text([]byte{s.flag()}))
}

// extractAWS reads Root=1-time-rest;Parent=span;Sampled=flag, in any order.
func extractAWS(h *plugin.Header, s *Span) bool {
	v := h.Get("x-amzn-trace-id")
	if len(v) > longest {
		return false
	}
	for one := range strings.SplitSeq(v, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch name {
		case "Root":
			if len(value) != 35 || value[:2] != "1-" || value[10] != '-' || !s.setTrace(value[2:10]+value[11:]) {
				return false
			}
		case "Parent":
			if len(value) != 16 || !setSpan(&s.ID, value) {
				return false
			}
		case "Sampled":
			sampling(s, value)
		}
	}
	return s.found()
}

func injectAWS(x *plugin.Exchange, s *Span) {
	var room [96]byte
	b := hex.AppendEncode(append(room[:0], "Root=1-"...), s.Trace[:4])
	b = hex.AppendEncode(append(b, '-'), s.Trace[4:])
	b = hex.AppendEncode(append(b, ";Parent="...), s.ID[:])
	x.Request.Header.Set("x-amzn-trace-id", x.Text(append(append(b, ";Sampled="...), s.flag())))
}

// extractGCP reads trace/span;o=flag, where the span is decimal.
func extractGCP(h *plugin.Header, s *Span) bool {
	v := h.Get("x-cloud-trace-context")
	if len(v) > longest {
		return false
	}
	trace, rest, _ := strings.Cut(v, "/")
	id, option, hasOption := strings.Cut(rest, ";o=")
	if len(trace) != 32 || !s.setTrace(trace) {
		return false
	}
	if n, err := strconv.ParseUint(id, 10, 64); err == nil {
		binary.BigEndian.PutUint64(s.ID[:], n)
	}
	if hasOption {
		sampling(s, option)
	}
	return true
}

func injectGCP(x *plugin.Exchange, s *Span) {
	var room [64]byte
	b := append(hex.AppendEncode(room[:0], s.Trace[:]), '/')
	b = strconv.AppendUint(b, binary.BigEndian.Uint64(s.ID[:]), 10)
	x.Request.Header.Set("x-cloud-trace-context", x.Text(append(b, ';', 'o', '=', s.flag())))
}
