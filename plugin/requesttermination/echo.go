package requesttermination

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
)

// echo shows requests to those who sent them.
type echo struct {
	status  int
	message string
	node    string
}

// mirror is the answer, in Kong's names.
type mirror struct {
	Message string          `json:"message,omitempty"`
	Gate    gate            `json:"kong"`
	Request request         `json:"request"`
	Route   json.RawMessage `json:"matched_route,omitempty"`
	Service json.RawMessage `json:"matched_service,omitempty"`
}

type gate struct {
	Node     string `json:"node_id"`
	PID      int    `json:"worker_pid"`
	Hostname string `json:"hostname"`
}

type request struct {
	Scheme   string            `json:"scheme"`
	Host     string            `json:"host"`
	Port     uint16            `json:"port"`
	Headers  map[string]values `json:"headers"`
	Query    map[string]values `json:"query"`
	Body     json.RawMessage   `json:"body,omitempty"`
	RawBody  string            `json:"raw_body"`
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Captures captures          `json:"uri_captures"`
}

type captures struct {
	Unnamed []string          `json:"unnamed"`
	Named   map[string]string `json:"named"`
}

// values are those of one name: one is shown alone, an argument without "=" as true.
type values []plugin.Argument

// MarshalJSON implements json.Marshaler.
func (v values) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, a := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		if a.Bare {
			b.WriteString("true")
			continue
		}
		text, err := json.Marshal(a.Value)
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	if len(v) == 1 {
		return b.Bytes(), nil
	}
	return []byte("[" + b.String() + "]"), nil
}

var hostname = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
})

func (e *echo) answer(x *plugin.Exchange) plugin.Verdict {
	q := &x.Request
	m := mirror{
		Message: e.message,
		Gate:    gate{Node: e.node, PID: os.Getpid(), Hostname: hostname()},
		Request: request{
			Scheme: q.Scheme, Host: withoutPort(q.Host), Port: x.Local.Port(), Method: q.Method, Path: q.Path,
			Headers: headers(&q.Header), Query: arguments(q.Query), Captures: capturesOf(x.Captures),
		},
	}
	// A body that cannot be read is shown as none, as in Kong.
	if body, err := x.ReadBody(0); err == nil {
		m.Request.RawBody = string(body)
		m.Request.Body = parsed(q.Header.Get("Content-Type"), body)
	}
	if x.Route != nil {
		m.Route = x.Route.JSON
	}
	if x.Service != nil {
		m.Service = x.Service.JSON
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return plugin.Deny(http.StatusInternalServerError, "").Because("echo-failed")
	}
	body := strings.TrimSuffix(b.String(), "\n")
	return plugin.Exit(e.status, "application/json; charset=utf-8", body).Because(reason)
}

func withoutPort(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.Contains(authority[i:], "]") {
		authority = authority[:i]
	}
	return strings.ToLower(authority)
}

func headers(h *plugin.Header) map[string]values {
	all := make(map[string]values, h.Len())
	for _, f := range h.Fields() {
		name := strings.ToLower(f.Name)
		all[name] = append(all[name], plugin.Argument{Value: f.Value})
	}
	return all
}

func arguments(query string) map[string]values {
	all := map[string]values{}
	for a := range plugin.Arguments(query) {
		all[a.Name] = append(all[a.Name], a)
	}
	return all
}

func capturesOf(c plugin.Captures) captures {
	out := captures{Unnamed: []string{}, Named: map[string]string{}}
	for i, v := range c.Values {
		if i < len(c.Names) && c.Names[i] != "" {
			out.Named[c.Names[i]] = v
		}
		out.Unnamed = append(out.Unnamed, v)
	}
	return out
}

// parsed is a JSON, form or multipart body as a value; nil: it is none of these.
func parsed(contentType string, body []byte) json.RawMessage {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil
	}
	var v map[string]values
	switch kind {
	case "application/json":
		if json.Valid(body) {
			return body
		}
		return nil
	case "application/x-www-form-urlencoded":
		v = arguments(string(body))
	case "multipart/form-data":
		v = parts(body, params["boundary"])
	default:
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}

func parts(body []byte, boundary string) map[string]values {
	all := map[string]values{}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return all
		}
		text, err := io.ReadAll(p)
		if name := p.FormName(); err == nil && name != "" {
			all[name] = values{{Value: string(text)}}
		}
	}
}
