package h1

import "github.com/sekifuda/sekifuda/plugin"

// ParseResponse parses a response head of which Scan found the end.
func (h *Head) ParseResponse(b []byte, most int, fields *plugin.Header) error {
	h.reset()
	n, err := h.statusLine(b)
	if err != nil {
		return err
	}
	if err := h.fields(b[n:], most, fields); err != nil {
		return err
	}
	return h.framing()
}

func (h *Head) statusLine(b []byte) (int, error) {
	if len(b) < 14 || string(b[:7]) != "HTTP/1." || b[7]-'0' > 9 || b[8] != ' ' {
		return 0, ErrLine
	}
	h.Minor = min(int(b[7]-'0'), 1)
	x, y, z := b[9]-'0', b[10]-'0', b[11]-'0'
	if x < 1 || x > 9 || y > 9 || z > 9 {
		return 0, ErrLine
	}
	h.Status = int(x)*100 + int(y)*10 + int(z)
	i := 12
	for b[i] != '\n' {
		i++ // Scan has seen the line feed
	}
	reason := b[12 : i-1]
	if len(reason) > 0 {
		// A status line without the space before an empty reason is common enough.
		if reason[0] != ' ' || !clean(reason) {
			return 0, ErrLine
		}
		reason = reason[1:]
	}
	h.Reason = view(reason)
	return i + 1, nil
}

// Bodyless reports whether a response to that method cannot have a body, whatever its fields
// say.
func Bodyless(method string, status int) bool {
	return method == "HEAD" || status == 204 || status == 304 || status < 200
}
