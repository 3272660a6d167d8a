package plugin

// Verdict is what a request filter decides. The zero value lets the request go on.
type Verdict struct {
	status      int
	reason      string
	message     string
	body        string
	contentType string
	exit        bool
	kept        bool
}

// Next lets the request go on to the next filter.
var Next Verdict

// Deny ends the exchange with status and Kong's negotiated error body: JSON, plain text,
// HTML, XML or gRPC by the client's Accept, always with the request id. An empty message
// stands for the status's default text. Headers of the answer are set on x.Early before.
func Deny(status int, message string) Verdict {
	return Verdict{status: status, message: message}
}

// Exit ends the exchange with status and a raw body. An empty contentType sends no
// Content-Type.
func Exit(status int, contentType, body string) Verdict {
	return Verdict{status: status, contentType: contentType, body: body, exit: true}
}

// ExitMessage ends the exchange with the compact JSON body {"message": message}.
func ExitMessage(status int, message string) Verdict {
	return Exit(status, "application/json; charset=utf-8", `{"message":`+quoteJSON(message)+`}`)
}

// Because names the rule that decided, in a few stable words ("no-key", "over-minute"): it
// is counted, logged and shown to who asks why a request was refused.
func (v Verdict) Because(reason string) Verdict { v.reason = reason; return v }

// Kept says of an Exit that an upstream made the answer, earlier: the gate marks it as one that
// was proxied.
func (v Verdict) Kept() Verdict { v.kept = true; return v }

// IsKept reports what Kept said.
func (v Verdict) IsKept() bool { return v.kept }

// Done reports whether the exchange is answered by this verdict.
func (v Verdict) Done() bool { return v.status != 0 }

// Status is the answer's status.
func (v Verdict) Status() int { return v.status }

// Message is the text of a negotiated answer.
func (v Verdict) Message() string { return v.message }

// Reason is what Because named.
func (v Verdict) Reason() string { return v.reason }

// Raw returns the content type and body of an Exit; ok is false for a Deny.
func (v Verdict) Raw() (contentType, body string, ok bool) {
	return v.contentType, v.body, v.exit
}

func quoteJSON(s string) string { return string(appendJSON(make([]byte, 0, len(s)+2), s)) }

// appendJSON appends s as a JSON text.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
