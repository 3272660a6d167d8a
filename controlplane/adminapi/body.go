package adminapi

import (
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

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

// untyped reads the body of a call that only validates: Kong parses its forms by older rules,
// without the table.
func (q *request) untyped() (schema.Body, error) {
	media, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" {
		return q.body(nil, "")
	}
	raw, err := q.read()
	if err != nil {
		return nil, err
	}
	values, err := bounded(decodeForm(string(raw)))
	if err != nil {
		return nil, err
	}
	return schema.FormUntyped(values), nil
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
	values, err := bounded(values)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return schema.FormUntyped(values), nil
	}
	return t.FormNamed(values, pluginName), nil
}

// bounded refuses forms of too many arguments.
func bounded(values url.Values) (url.Values, error) {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	if n > maxArguments {
		return nil, errArguments
	}
	return values, nil
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
	values, nested, err := q.parts(boundary)
	if err != nil {
		return nil, err
	}
	b, err := form(t, values, pluginName)
	if err != nil {
		return nil, err
	}
	maps.Copy(b, nested)
	return b, nil
}

// parts reads the parts of a multipart body: texts, and what says to be JSON.
func (q *request) parts(boundary string) (url.Values, schema.Body, error) {
	values, nested := url.Values{}, schema.Body{}
	r := multipart.NewReader(q.r.Body, boundary)
	for {
		part, err := r.NextRawPart()
		if err != nil {
			return values, nested, nil // what came before a damaged part counts, as in Kong
		}
		raw, err := io.ReadAll(part)
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return nil, nil, errTooLarge
		case err != nil:
			return values, nested, nil
		}
		name := part.FormName()
		switch {
		case name == "":
		case strings.HasPrefix(part.Header.Get("Content-Type"), "application/json"):
			v, err := decodeJSON(raw)
			if err != nil {
				return nil, nil, err
			}
			nested[name] = v
		default:
			values[name] = append(values[name], string(raw))
		}
	}
}

func decodeJSON(raw []byte) (schema.Body, error) {
	b, err := schema.DecodeJSON(raw)
	if err != nil {
		// Kong 3.9.1 crashes with a 500 on JSON that is no object; such a body is as wrong as
		// one that cannot be parsed.
		return nil, errJSON
	}
	return b, nil
}
