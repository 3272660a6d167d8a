// Package tracing joins exchanges to the traces of their callers and tells upstreams the trace:
// what the plugins that post spans have in common.
//
// It knows the formats of trace headers; what a span says and where it goes is a plugin's. It
// is no plugin. Enter at Compile.
package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// TraceID and SpanID are those of W3C Trace Context. Zero is none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Span says where an exchange stands in a trace, as headers carry it.
type Span struct {
	Trace   TraceID
	ID      SpanID
	Parent  SpanID // zero: there is none, or it is not told
	Sampled bool
	Decided bool // Sampled was said
	Short   bool // the trace id came in 8 bytes, and is told so
}

func (s *Span) found() bool { return s.Trace != TraceID{} }

// NewTraceID and NewSpanID draw from the runtime's ChaCha8, which is seeded by the system and
// takes no lock.
func NewTraceID() (t TraceID) {
	for t == (TraceID{}) {
		binary.BigEndian.PutUint64(t[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t[8:], rand.Uint64())
	}
	return t
}

func NewSpanID() (s SpanID) {
	for s == (SpanID{}) {
		binary.BigEndian.PutUint64(s[:], rand.Uint64())
	}
	return s
}

// hexInto reads hexadecimal digits, as many as fill dst or fewer: then zeros stand before.
func hexInto(dst []byte, text string) bool {
	if text == "" || len(text) > 2*len(dst) {
		return false
	}
	var room [32]byte
	digits := room[:2*len(dst)]
	n := len(digits) - len(text)
	for i := range n {
		digits[i] = '0'
	}
	copy(digits[n:], text)
	_, err := hex.Decode(dst, digits)
	return err == nil
}

// setTrace reads a trace id of 1 to 32 digits.
func (s *Span) setTrace(text string) bool {
	s.Short = len(text) <= 16
	return hexInto(s.Trace[:], text) && s.found()
}

func setSpan(id *SpanID, text string) bool {
	return hexInto(id[:], text)
}

func (s *Span) setSampled(yes bool) { s.Sampled, s.Decided = yes, true }

// appendTrace appends the trace id as it is told in formats that have a short form.
func (s *Span) appendTrace(b []byte) []byte {
	if s.Short {
		return hex.AppendEncode(b, s.Trace[8:])
	}
	return hex.AppendEncode(b, s.Trace[:])
}

func (s *Span) flag() byte {
	if s.Sampled {
		return '1'
	}
	return '0'
}
