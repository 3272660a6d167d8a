package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/sekifuda/sekifuda/model/schema"
)

// maxArguments is Kong's bound on the arguments of a form or a query.
const maxArguments = 1000

// answered is an error whose answer needs no fault: a status and a message.
type answered struct {
	status  int
	message string // "": nginx's page for the status
}

func (e *answered) Error() string { return e.message }

var (
	errJSON      = &answered{http.StatusBadRequest, "Cannot parse JSON body"}
	errArguments = &answered{http.StatusBadRequest, "Too many arguments"}
	errMediaType = &answered{status: http.StatusUnsupportedMediaType}
	errTooLarge  = &answered{status: http.StatusRequestEntityTooLarge}
)

// body reads a request's body as a tree typed by the table. Only forms need the types;
// pluginName chooses a plugin's config when the form does not say it.
func (q *request) body(t *schema.Table, pluginName string) (schema.Body, error) {
	kind := q.r.Header.Get("Content-Type")
	media, params, _ := mime.ParseMediaType(kind)
	switch {
	case kind == "":
		if q.r.ContentLength != 0 {
			return nil, errMediaType
		}
		return schema.Body{}, nil
	case strings.HasPrefix(kind, "application/json"):
		raw, err := q.read()
		if err != nil {
			return nil, err
		}
		return decodeJSON(raw)
	case media == "application/x-www-form-urlencoded":
		raw, err := q.read()
		if err != nil {
			return nil, err
		}
		return form(t, decodeForm(string(raw)), pluginName)
	case media == "multipart/form-data":
		return q.multipart(t, params["boundary"], pluginName)
	}
	return nil, errMediaType
}

func (q *request) read() ([]byte, error) {
	raw, err := io.ReadAll(q.r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	return raw, err
}

func form(t *schema.Table, values url.Values, pluginName string) (schema.Body, error) {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	if n > maxArguments {
		return nil, errArguments
	}
	return t.FormNamed(values, pluginName), nil
}

// decodeForm splits a form as Kong does: what is not an escape is kept, ";" separates
// nothing.
func decodeForm(raw string) url.Values {
	values := url.Values{}
	for _, pair := range strings.Split(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(strings.ReplaceAll(name, "+", " "))
		values[name] = append(values[name], unescape(strings.ReplaceAll(value, "+", " ")))
	}
	return values
}

func (q *request) multipart(t *schema.Table, boundary, pluginName string) (schema.Body, error) {
	values := url.Values{}
	nested := schema.Body{}
	r := multipart.NewReader(q.r.Body, boundary)
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			break // what came before a damaged part counts, as in Kong
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				return nil, errTooLarge
			}
			break
		}
		name := part.FormName()
		if name == "" {
			continue
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "application/json") {
			v, err := decodeAny(raw)
			if err != nil {
				return nil, errJSON
			}
			nested[name] = v
			continue
		}
		values[name] = append(values[name], string(raw))
	}
	b, err := form(t, values, pluginName)
	if err != nil {
		return nil, err
	}
	for name, v := range nested {
		b[name] = v
	}
	return b, nil
}

func decodeJSON(raw []byte) (schema.Body, error) {
	v, err := decodeAny(raw)
	if err != nil {
		return nil, errJSON
	}
	b, ok := v.(map[string]any)
	if !ok {
		// Kong 3.9.1 crashes with a 500 here; the body is as wrong as one it cannot parse.
		return nil, errJSON
	}
	return b, nil
}

// maxDepth bounds nesting: cjson's limit.
const maxDepth = 1000

// decodeAny decodes one JSON value. Bytes that are not UTF-8 come through as they are, so
// that the table can name the field that holds them.
func decodeAny(raw []byte) (any, error) {
	if depth(raw) > maxDepth {
		return nil, errJSON
	}
	bad := !utf8.Valid(raw)
	if bad {
		raw = hideInvalid(raw)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errJSON
	}
	if bad {
		v = showInvalid(v)
	}
	return v, nil
}

func depth(raw []byte) int {
	deepest, now, quoted := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// privateUse is the first of 256 code points that stand for bytes which are not UTF-8
// while the JSON decoder, which would replace them, is at work.
const privateUse = 0xF700

func hideInvalid(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+16)
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if r == utf8.RuneError && n == 1 {
			out = utf8.AppendRune(out, privateUse+rune(raw[0]))
		} else {
			out = append(out, raw[:n]...)
		}
		raw = raw[n:]
	}
	return out
}

func showInvalid(v any) any {
	switch v := v.(type) {
	case string:
		return showBytes(v)
	case []any:
		for i := range v {
			v[i] = showInvalid(v[i])
		}
	case map[string]any:
		for k, x := range v {
			delete(v, k)
			v[showBytes(k)] = showInvalid(x)
		}
	}
	return v
}

func showBytes(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= privateUse && r <= privateUse+0xFF {
			b = append(b, byte(r-privateUse))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}
