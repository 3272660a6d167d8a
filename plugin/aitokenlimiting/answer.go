package aitokenlimiting

import (
	"bytes"
	"strings"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

const (
	// maxAnswer bounds an answer that is read whole; a larger one is settled as reserved.
	maxAnswer = 4 << 20
	// maxLine bounds a line of a stream.
	maxLine = 1 << 20
)

// watch has the answer read on its way. One of a form that tells no use, or that is packed, is
// settled as it was reserved.
func (v *visit) watch() {
	r, h := &v.x.Response, &v.x.Response.Header
	if packed := h.Get("Content-Encoding"); packed != "" && packed != "identity" {
		return
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "text/event-stream" || kind == "application/x-ndjson" || kind == "application/stream+json":
		v.read, v.piece = true, true
		s := &stream{visit: v, hide: llm.UsageAsked(v.x)}
		r.Edit(s.edit)
	case kind != "application/json" || r.Length > maxAnswer:
	case r.Length >= 0:
		v.read = true
		r.Rewrite(func(body []byte) []byte {
			v.answer(body)
			v.tell(h)
			return body
		})
	default:
		v.read, v.piece = true, true
		var whole []byte
		r.Edit(func(piece []byte, last bool) []byte {
			if len(whole) <= maxAnswer {
				whole = append(whole, piece...)
			}
			if last {
				v.answer(whole)
			}
			return piece
		})
	}
}

// answer settles a whole answer. One that is no JSON is left for the end.
func (v *visit) answer(body []byte) {
	o := llm.Decode(body)
	if o == nil {
		v.read = false
		return
	}
	v.whole = true
	v.learn(o)
	v.spent(v.used())
}

// learn takes over what an answer, or a part of it, tells.
func (v *visit) learn(o llm.Object) {
	v.seen.Read(o)
	v.text += texts(o["choices"]) + texts(o["message"]) + texts(o["delta"])
	for _, name := range []string{"response", "delta"} { // Ollama's, OpenAI's responses
		v.text += int64(len(llm.Text(o, name)))
	}
}

// texts is how many bytes of an answer's own words are in a part of it.
func texts(part any) (n int64) {
	switch part := part.(type) {
	case []any:
		for _, one := range part {
			n += texts(one)
		}
	case llm.Object:
		for name, one := range part {
			s, isText := one.(string)
			switch {
			case !isText:
				n += texts(one)
			case name == "content" || name == "text" || name == "arguments" || name == "reasoning_content" || name == "thinking":
				n += int64(len(s))
			}
		}
	}
	return n
}

// stream reads an answer that comes as server-sent events or lines of JSON. Lines go on as they
// come; only those that tell what the client did not ask for are kept.
type stream struct {
	*visit
	hide   bool
	rest   []byte // of a line that has not ended
	hidden bool   // the event that ends with the next empty line
}

func (s *stream) edit(piece []byte, last bool) []byte {
	s.rest = append(s.rest, piece...)
	var out []byte
	for {
		i := bytes.IndexByte(s.rest, '\n')
		if i < 0 {
			break
		}
		out = s.line(out, s.rest[:i+1])
		s.rest = s.rest[i+1:]
	}
	if last || len(s.rest) > maxLine {
		out = s.line(out, s.rest)
		s.rest = nil
	}
	if last {
		s.whole = true
		s.spent(s.used())
	}
	if s.hide {
		return out
	}
	return piece
}

func (s *stream) line(out, line []byte) []byte {
	data := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
	if len(data) == 0 && s.hidden {
		s.hidden = false
		return out
	}
	if len(data) > 0 && data[0] == '{' {
		if o := llm.Decode(data); o != nil {
			s.learn(o)
			if s.hide && llm.OnlyUsage(o) {
				s.hidden = true
				return out
			}
		}
	}
	if !s.hide {
		return out
	}
	return append(out, line...)
}
