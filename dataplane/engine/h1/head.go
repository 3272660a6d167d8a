package h1

import (
	"github.com/sekifuda/sekifuda/plugin"
)

// Head is what the first line and the framing fields of a message say. All fields of the
// message are in the plugin.Header that was lent to the parser. Strings point into the bytes
// that were parsed.
type Head struct {
	Minor int // HTTP/1.x; a higher minor version counts as 1

	// Of a request.
	Method string
	Target string
	Host   string // of the target when it is absolute, else of the field; "" in HTTP/1.0 without
	Path   string // of the target, without query
	Query  string // without "?"

	// Of a response.
	Status int
	Reason string

	Length    int64 // Content-Length; -1 absent
	Chunked   bool
	Close     bool // the connection ends with this message
	Upgrade   bool // Connection lists upgrade
	Protocol  string
	Expect100 bool
	Trailers  bool // TE lists trailers

	keepAlive bool
	named     bool // Connection lists other fields
	hosts     int
	lengths   int
	codings   int
}

func (h *Head) reset() { *h = Head{Length: -1} }

// fields parses the field lines in b, which ends with the empty line.
func (h *Head) fields(b []byte, most int, into *plugin.Header) error {
	into.Reset()
	for n := 0; ; n++ {
		if b[0] == '\r' {
			if b[1] != '\n' { // a bare carriage return must not pass for the end
				return ErrField
			}
			return nil
		}
		if n == most {
			return ErrTooLarge
		}
		i := 0
		for tokenChar[b[i]] {
			i++
		}
		// Anything else before the colon is refused: a space, and the blank of a folded line.
		if i == 0 || b[i] != ':' {
			return ErrField
		}
		e := i + 1 + control(b[i+1:])
		if b[e] != '\r' || b[e+1] != '\n' {
			return ErrField
		}
		value := trim(b[i+1 : e])
		name, val := view(b[:i]), view(value)
		if e-len(value) == i+2 && b[i+1] == ' ' {
			into.AppendWire(name, val)
		} else {
			into.Append(name, val)
		}
		if err := h.note(name, val); err != nil {
			return err
		}
		b = b[e+2:]
	}
}

// ParseLines parses field lines that end with an empty line.
func ParseLines(b []byte, into *plugin.Header) error {
	var h Head
	h.reset()
	return h.fields(b, ResponseLimits.Fields, into)
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// note takes what the codec itself must know from one field.
func (h *Head) note(name, value string) error {
	switch len(name) {
	case 2:
		if plugin.EqualName(name, "te") {
			h.Trailers = h.Trailers || HasToken(value, "trailers")
		}
	case 4:
		if plugin.EqualName(name, "host") {
			h.hosts++
			h.Host = value
		}
	case 6:
		if plugin.EqualName(name, "expect") {
			h.Expect100 = plugin.EqualName(value, "100-continue")
		}
	case 7:
		if plugin.EqualName(name, "upgrade") {
			h.Protocol = value
		}
	case 10:
		if plugin.EqualName(name, "connection") {
			h.connection(value)
		}
	case 14:
		if plugin.EqualName(name, "content-length") {
			return h.contentLength(value)
		}
	case 17:
		if plugin.EqualName(name, "transfer-encoding") {
			h.codings++
			if !plugin.EqualName(value, "chunked") {
				return ErrCoding
			}
			h.Chunked = true
		}
	}
	return nil
}

func (h *Head) contentLength(v string) error {
	// 18 digits cannot overflow. Equal repetitions may be repaired by RFC 9110 8.6; nginx
	// refuses them, and so do we.
	if h.lengths++; h.lengths > 1 || v == "" || len(v) > 18 {
		return ErrLength
	}
	h.Length = 0
	for i := 0; i < len(v); i++ {
		if v[i]-'0' > 9 {
			return ErrLength
		}
		h.Length = h.Length*10 + int64(v[i]-'0')
	}
	return nil
}

func (h *Head) connection(v string) {
	for v != "" {
		var t string
		t, v = nextToken(v)
		switch {
		case plugin.EqualName(t, "close"):
			h.Close = true
		case plugin.EqualName(t, "keep-alive"):
			h.keepAlive = true
		case plugin.EqualName(t, "upgrade"):
			h.Upgrade = true
		case t != "":
			h.named = true
		}
	}
}

// framing settles what the fields together mean.
func (h *Head) framing() error {
	if h.codings > 1 || h.Chunked && (h.lengths > 0 || h.Minor == 0) {
		return ErrFraming
	}
	if h.Minor == 0 && !h.keepAlive {
		h.Close = true
	}
	return nil
}

// DropNamed removes the fields that Connection lists, which are meant for the next hop only.
// It is done before filters add fields of theirs: otherwise a client could name one of those
// and have it removed.
func (h *Head) DropNamed(fields *plugin.Header) {
	if !h.named {
		return
	}
	for i := 0; i < fields.Len(); i++ {
		f := fields.Fields()[i]
		if !plugin.EqualName(f.Name, "connection") {
			continue
		}
		for v := f.Value; v != ""; {
			var t string
			t, v = nextToken(v)
			if !framingName(t) {
				fields.Del(t)
			}
		}
	}
}

func framingName(n string) bool {
	for _, f := range [...]string{"", "connection", "host", "content-length", "transfer-encoding", "upgrade", "te", "trailer"} {
		if plugin.EqualName(n, f) {
			return true
		}
	}
	return false
}

// nextToken cuts the first element off a comma-separated list.
func nextToken(v string) (token, rest string) {
	end := len(v)
	for i := 0; i < len(v); i++ {
		if v[i] == ',' {
			end = i
			break
		}
	}
	token = v[:end]
	if end < len(v) {
		rest = v[end+1:]
	}
	for token != "" && (token[0] == ' ' || token[0] == '\t') {
		token = token[1:]
	}
	for token != "" && (token[len(token)-1] == ' ' || token[len(token)-1] == '\t') {
		token = token[:len(token)-1]
	}
	return token, rest
}

// HasToken reports whether the comma-separated list v has token, without regard to case.
func HasToken(v, token string) bool {
	for v != "" {
		var t string
		if t, v = nextToken(v); plugin.EqualName(t, token) {
			return true
		}
	}
	return false
}
