// Package h1 is the HTTP/1.1 codec of the gate: strict parsers of request and response heads,
// the chunked coding, and the writing of lines. It does no I/O and allocates nothing: what it
// returns points into the bytes it was given.
//
// It knows RFC 9110 and 9112; it does not know connections, routes or filters. Where the RFCs
// let a recipient choose between repairing and refusing, it refuses: two parties that read the
// same bytes differently is how requests are smuggled.
// Enter at Limits.Scan, Head.ParseRequest, Head.ParseResponse and Chunks.Decode.
package h1

import "unsafe"

// Error is a message that is refused. Status is what a server answers; 494 is nginx's own
// number for a head that is too large.
type Error struct {
	Status int
	text   string
}

func (e *Error) Error() string { return e.text }

// The refusals.
var (
	ErrLine       = &Error{400, "malformed line"}
	ErrBareLF     = &Error{400, "line ends without a carriage return"}
	ErrMethod     = &Error{400, "malformed method"}
	ErrTarget     = &Error{400, "malformed request target"}
	ErrHost       = &Error{400, "missing, repeated or malformed host"}
	ErrField      = &Error{400, "malformed field"}
	ErrLength     = &Error{400, "malformed or repeated content-length"}
	ErrFraming    = &Error{400, "transfer-encoding beside content-length, repeated, or in HTTP/1.0"}
	ErrChunk      = &Error{400, "malformed chunk"}
	ErrTrailer    = &Error{400, "malformed or too long trailer"}
	ErrForbidden  = &Error{405, "method is not served"}
	ErrURITooLong = &Error{414, "request line is too long"}
	ErrTooLarge   = &Error{494, "head is too large"}
	ErrCoding     = &Error{501, "transfer coding is not supported"}
	ErrVersion    = &Error{505, "version is not supported"}
)

// view makes a string of bytes without copying them. The string changes with the bytes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
