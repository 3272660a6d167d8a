package tracing

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

const (
	trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	id    = "00f067aa0ba902b7"
)

// formatsTold are headers of each format that say the same.
var formatsTold = map[string][]string{
	"w3c":       {"traceparent: 00-" + trace + "-" + id + "-01"},
	"b3-single": {"b3: " + trace + "-" + id + "-1"},
	"b3":        {"X-B3-TraceId: " + trace, "X-B3-SpanId: " + id, "X-B3-Sampled: 1"},
	"jaeger":    {"uber-trace-id: " + trace + ":f067aa0ba902b7:0:1"},
	"ot":        {"ot-tracer-traceid: " + trace, "ot-tracer-spanid: " + id, "ot-tracer-sampled: 1"},
	"aws":       {"X-Amzn-Trace-Id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=" + id + ";Sampled=1"},
	"gcp":       {"X-Cloud-Trace-Context: " + trace + "/67667974448284343;o=1"},
	"datadog":   {"x-datadog-trace-id: 11803532876627986230", "x-datadog-parent-id: 67667974448284343", "x-datadog-sampling-priority: 1"},
}

func TestEveryFormatIsReadAndWritten(t *testing.T) {
	t.Parallel()
	if len(formatsTold) != len(formats) {
		t.Fatalf("%d formats are told, want %d", len(formatsTold), len(formats))
	}
	for name, lines := range formatsTold {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := formatOf(name)
			x := plugintest.Request{Lines: lines}.Exchange()
			var in, out Span
			if !f.extract(&x.Request.Header, &in) {
				t.Fatalf("extract(%q) finds nothing", lines)
			}
			want := trace
			if name == "datadog" {
				want = strings.Repeat("0", 16) + trace[16:]
			}
			if hex.EncodeToString(in.Trace[:]) != want || hex.EncodeToString(in.ID[:]) != id || !in.Sampled || !in.Decided || in.Parent != (SpanID{}) {
				t.Errorf("extract = %x %x sampled %v, %v", in.Trace, in.ID, in.Sampled, in.Decided)
			}
			for _, sampled := range []bool{true, false} {
				in.Sampled = sampled
				y := plugintest.Request{}.Exchange()
				f.inject(y, &in)
				out = Span{}
				if !f.extract(&y.Request.Header, &out) || out != in {
					t.Errorf("written as %v, read as %+v, want %+v", y.Request.Header.Fields(), out, in)
				}
			}
		})
	}
}

func TestFormsOfFormats(t *testing.T) {
	t.Parallel()
	tests := []struct {
		format, name, value string
		trace, span, parent string // "" for the trace: it is refused, or says the sampling alone
		ok, sampled         bool
	}{
		{"w3c", "traceparent", "01-" + trace + "-" + id + "-00-more", trace, id, "", true, false},
		{"w3c", "traceparent", "00-" + trace + "-" + id + "-01-more", "", "", "", false, false},
		{"w3c", "traceparent", "ff-" + trace + "-" + id + "-01", "", "", "", false, false},
		{"w3c", "traceparent", "00-" + strings.Repeat("0", 32) + "-" + id + "-01", "", "", "", false, false},
		{"w3c", "traceparent", "00-" + trace + "-0000000000000000-01", "", "", "", false, false},
		{"w3c", "traceparent", "00-" + trace[:31] + "x-" + id + "-01", "", "", "", false, false},
		{"b3-single", "b3", "0", "", "", "", true, false},
		{"b3-single", "b3", "d", "", "", "", true, true},
		{"b3-single", "b3", "x", "", "", "", false, false},
		{"b3-single", "b3", trace[16:] + "-" + id, "0000000000000000" + trace[16:], id, "", true, false},
		{"b3-single", "b3", trace + "-" + id + "-d-05e3ac9a4f6e3b90", trace, id, "05e3ac9a4f6e3b90", true, true},
		{"b3-single", "tracestate", "b3=" + trace + "-" + id + "-0", trace, id, "", true, false},
		{"b3", "x-b3-sampled", "true", "", "", "", true, true},
		{"b3", "x-b3-traceid", trace, trace, "0000000000000000", "", true, false}, // the trace alone
		{"jaeger", "uber-trace-id", trace + "%3A" + id + "%3a05e3ac9a4f6e3b90%3A0", trace, id, "05e3ac9a4f6e3b90", true, false},
		{"jaeger", "uber-trace-id", "1:2:0:3", "00000000000000000000000000000001", "0000000000000002", "", true, true},
		{"jaeger", "uber-trace-id", "1:2:0", "", "", "", false, false},
		{"aws", "x-amzn-trace-id", "Sampled=0; Root=1-4bf92f35-77b34da6a3ce929d0e0e4736", trace, "0000000000000000", "", true, false},
		{"aws", "x-amzn-trace-id", "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736", "", "", "", false, false},
		{"gcp", "x-cloud-trace-context", trace, trace, "0000000000000000", "", true, false},
		{"gcp", "x-cloud-trace-context", trace + "/1;o=0", trace, "0000000000000001", "", true, false},
		{"datadog", "x-datadog-trace-id", "0", "", "", "", false, false},
	}
	for _, tt := range tests {
		var h plugin.Header
		h.Append(tt.name, tt.value)
		var s Span
		ok := formatOf(tt.format).extract(&h, &s)
		if ok != tt.ok {
			t.Errorf("%s %q: found %v, want %v", tt.format, tt.value, ok, tt.ok)
			continue
		}
		if !ok {
			continue
		}
		gotTrace, gotParent := hex.EncodeToString(s.Trace[:]), hex.EncodeToString(s.Parent[:])
		if !s.found() {
			gotTrace = ""
		}
		if s.Parent == (SpanID{}) {
			gotParent = ""
		}
		if gotTrace != tt.trace || tt.trace != "" && hex.EncodeToString(s.ID[:]) != tt.span || gotParent != tt.parent || s.Sampled != tt.sampled {
			t.Errorf("%s %q = %s %x %s %v, want %+v", tt.format, tt.value, gotTrace, s.ID, gotParent, s.Sampled, tt)
		}
	}
}

// told returns which formats' headers a request goes on with.
// FuzzHeaders has any text stand in any header: what is read is written so that it is read
// again.
func FuzzHeaders(f *testing.F) {
	for _, lines := range formatsTold {
		name, value, _ := strings.Cut(lines[0], ": ")
		f.Add(strings.ToLower(name), value)
	}
	f.Add("b3", "1-2-d-")
	f.Add("traceparent", strings.Repeat("-", 60))
	f.Fuzz(func(t *testing.T, name, value string) {
		var h plugin.Header
		h.Append(name, value)
		for _, format := range formats {
			var in, out Span
			if !format.extract(&h, &in) || !in.found() {
				continue
			}
			if in.ID == (SpanID{}) {
				in.ID = NewSpanID() // what is written is never without one
			}
			x := plugintest.Request{}.Exchange()
			format.inject(x, &in)
			if !format.extract(&x.Request.Header, &out) || out.Trace != in.Trace || out.ID != in.ID {
				t.Errorf("%s %q: %v is read as %+v, want %+v", format.name, value, x.Request.Header.Fields(), out, in)
			}
		}
	})
}
