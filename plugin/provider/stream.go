package provider

import (
	"bytes"
	"log/slog"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// event is one of a streamed answer: a server-sent event, or a line of JSON.
type event struct{ name, data string }

// maxEvent bounds an event that has not ended yet.
const maxEvent = 1 << 20

// streamed are the types of streams that are understood.
var streamed = map[string]bool{
	"text/event-stream": true, "application/json": true, "application/stream+json": true, "application/x-ndjson": true,
}

// Edit returns what translates a streamed answer of a type, piece by piece; keep has its text
// kept for logs.
func (c *Call) Edit(x *plugin.Exchange, kind string, keep bool, log *slog.Logger) func(piece []byte, last bool) []byte {
	s := &stream{Call: c, x: x, format: c.provider.format, route: c.provider.route, log: log, keep: keep, known: streamed[kind], kind: kind}
	return s.edit
}

// stream translates one streamed answer. It belongs to one exchange.
type stream struct {
	*Call
	x      *plugin.Exchange
	format format
	route  string
	log    *slog.Logger
	known  bool   // its type is one of events
	kind   string // that type

	id     string // of the answer, once it is told
	rest   []byte // of an event that has not ended
	name   string // of the event that is being read
	data   []string
	text   strings.Builder // of the answer, for logs
	keep   bool            // text is logged
	reason any
	failed bool
	array  bool // it is a list of objects
	closes bool // the provider does not say when it is over
	over   bool // it was said
}

// unsupported is Kong's word for a stream that nobody understands.
const unsupported = `data: {"error": true, "message": "empty or unsupported transformer response"}` + "\n\n"

// edit translates what has come.
func (s *stream) edit(piece []byte, last bool) []byte {
	if !s.known {
		if s.failed || len(piece) == 0 {
			return nil
		}
		s.failed = true
		return []byte(unsupported)
	}
	s.rest = append(s.rest, piece...)
	var out []byte
	if s.array = s.array || s.kind == "application/json" && bytes.HasPrefix(bytes.TrimSpace(s.rest), []byte("[")); s.array {
		out = s.elements(out)
	} else {
		out = s.lines(out)
	}
	if len(s.rest) > maxEvent {
		s.rest = nil // no server sends such an event in good faith
	}
	if last {
		if !s.array {
			out = s.end(s.line(out, string(s.rest)))
		}
		if s.closes && !s.over {
			out = append(out, "data: "+done+"\n\n"...)
		}
		s.rest = nil
		s.close()
	}
	return out
}

func (s *stream) lines(out []byte) []byte {
	for {
		i := bytes.IndexByte(s.rest, '\n')
		if i < 0 {
			return out
		}
		out = s.line(out, strings.TrimSuffix(string(s.rest[:i]), "\r"))
		s.rest = s.rest[i+1:]
	}
}

// elements reads the objects of a list, as far as they are here.
func (s *stream) elements(out []byte) []byte {
	for {
		from := bytes.IndexByte(s.rest, '{')
		if from < 0 {
			return out
		}
		n := objectLen(s.rest[from:])
		if n == 0 {
			return out
		}
		out = s.emit(out, event{data: string(s.rest[from : from+n])})
		s.rest = s.rest[from+n:]
	}
}

// objectLen returns the length of the JSON object at the start of b, 0 when its end is not
// here yet.
func objectLen(b []byte) int {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// line reads a line: a field of an event, the end of one, or JSON that stands alone.
func (s *stream) line(out []byte, line string) []byte {
	if line == "" {
		return s.end(out)
	}
	if strings.HasPrefix(strings.TrimSpace(line), "{") && s.name == "" && len(s.data) == 0 {
		return s.emit(out, event{data: line})
	}
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		s.name = value
	case "data":
		s.data = append(s.data, value)
	}
	return out
}

func (s *stream) end(out []byte) []byte {
	e := event{s.name, strings.Join(s.data, "\n")}
	s.name, s.data = "", nil
	if e.data == "" {
		return out
	}
	return s.emit(out, e)
}

func (s *stream) emit(out []byte, e event) []byte {
	chunk, err := s.format.event(e, s)
	if err != nil {
		s.log.Warn("translate event", "provider", s.model.provider, "error", err)
	}
	if chunk == "" {
		return out
	}
	s.over = s.over || chunk == done
	if chunk != done {
		o := llm.Decode([]byte(chunk))
		s.note(o)
		llm.Report(s.x, llm.Usage{Prompt: s.usage.prompt, Completion: max(s.usage.completion, s.guess())}, false)
		if llm.UsageAsked(s.x) && llm.OnlyUsage(o) {
			return out
		}
	}
	return append(append(append(out, "data: "...), chunk...), "\n\n"...)
}

// note keeps what logs tell of a chunk.
func (s *stream) note(chunk llm.Object) {
	choices := items(chunk["choices"])
	if name := llm.Text(chunk, "model"); name != "" {
		s.named = name
	}
	if len(choices) == 0 {
		return
	}
	if r := choices[0]["finish_reason"]; r != nil {
		s.reason = r
	}
	text, ok := inner(choices[0], "delta", "content").(string)
	if !ok {
		text, _ = choices[0]["text"].(string)
	}
	s.length += len(text)
	if s.keep && s.text.Len() < maxEvent {
		s.text.WriteString(text)
	}
}

// guess is about how many tokens the texts so far are, as Kong has it.
func (c *Call) guess() int64 { return int64(c.length+3) / 4 }

// close counts what the provider did not, and makes one answer of the chunks for logs.
func (s *stream) close() {
	if s.usage.completion == 0 {
		s.usage.completion = s.guess()
	}
	s.Report(s.x)
	if !s.keep {
		return
	}
	s.got = llm.Encode(llm.Object{
		"choices": []any{llm.Object{
			"finish_reason": s.reason, "index": 0, "logprobs": nil,
			"message": llm.Object{"role": "assistant", "content": s.text.String()},
		}},
		"object": "chat.completion", "usage": tokens(s.usage.prompt, s.usage.completion),
	})
}
