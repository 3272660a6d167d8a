package opentelemetry

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// traceID and spanID are those of W3C Trace Context. Zero is none.
type (
	traceID [16]byte
	spanID  [8]byte
)

// span says where an exchange stands in a trace, as headers carry it.
type span struct {
	trace   traceID
	span    spanID
	parent  spanID // zero: there is none, or it is not told
	sampled bool
	decided bool // sampled was said
	short   bool // the trace id came in 8 bytes, and is told so
}

func (s *span) found() bool { return s.trace != traceID{} }

// newTraceID and newSpanID draw from the runtime's ChaCha8, which is seeded by the system and
// takes no lock.
func newTraceID() (t traceID) {
	for t == (traceID{}) {
		binary.BigEndian.PutUint64(t[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t[8:], rand.Uint64())
	}
	return t
}

func newSpanID() (s spanID) {
	for s == (spanID{}) {
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
func (s *span) setTrace(text string) bool {
	s.short = len(text) <= 16
	return hexInto(s.trace[:], text) && s.found()
}

func setSpan(id *spanID, text string) bool {
	return hexInto(id[:], text)
}

func (s *span) setSampled(yes bool) { s.sampled, s.decided = yes, true }

// appendTrace appends the trace id as it is told in formats that have a short form.
func (s *span) appendTrace(b []byte) []byte {
	if s.short {
		return hex.AppendEncode(b, s.trace[8:])
	}
	return hex.AppendEncode(b, s.trace[:])
}

func (s *span) flag() byte {
	if s.sampled {
		return '1'
	}
	return '0'
}
