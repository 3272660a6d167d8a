package adminapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/model/document"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// Kong has /config only without a database. Here it works on every store: the file becomes
// all there is, as one revision.

func (a *API) registerDeclarative() {
	a.handle("/config", map[string]handler{"GET": (*request).exportConfig, "POST": (*request).loadConfig})
}

var errNoConfig = &answered{http.StatusBadRequest, "expected a declarative configuration"}

// loaded is the body of POST /config: a file, or an object that is one already.
type loaded struct {
	file    string
	object  schema.Body
	options map[string]any // what stands beside the file
}

func (q *request) loadConfig() error {
	in, err := q.declarative()
	if err != nil {
		return err
	}
	flatten, check := truthy(in.options["flatten_errors"]), in.options["check_hash"] == "1" || in.options["check_hash"] == 1.0
	d, err := in.document(q.Config.Schema())
	if err != nil {
		return err
	}
	if check && in.object == nil {
		if res, err := q.Config.Replace(q.r.Context(), d, true, q.origin()); err == nil && !res.Changed {
			q.latency()
			q.w.WriteHeader(http.StatusNotModified)
			return nil
		}
		if d, err = in.document(q.Config.Schema()); err != nil { // a plan uses its document up
			return err
		}
	}
	res, err := q.Config.Replace(q.r.Context(), d, false, q.origin())
	var refused *document.Refused
	switch {
	case errors.As(err, &refused) && flatten:
		f, list := refused.Flatten()
		body := faultBody(kinds[f.Kind].code, f)
		body["flattened_errors"] = list
		q.json(http.StatusBadRequest, body)
		return nil
	case errors.As(err, &refused):
		return refused.Fault()
	case err != nil:
		return err
	}
	if err := q.enforced(res.Revision.Rev); err != nil {
		return err
	}
	q.json(http.StatusCreated, byKind(res.Entities, q.renderPlain))
	return nil
}

// renderPlain shows an entity without what belongs to others.
func (q *request) renderPlain(e *config.Entity) schema.Body {
	b := e.Table.Render(e.Message, q.start)
	if !guard.SeesSecrets(q.r.Context()) {
		e.Table.Hide(e.Message, b)
	}
	return b
}

// byKind is entities by kind and id.
func byKind(list []*config.Entity, render func(*config.Entity) schema.Body) schema.Body {
	all := schema.Body{}
	for _, e := range list {
		kind, ok := all[e.Table.Kind].(schema.Body)
		if !ok {
			kind = schema.Body{}
			all[e.Table.Kind] = kind
		}
		body := render(e)
		if e.Table.Kind == "certificates" {
			delete(body, "snis") // they are a kind of their own here
		}
		kind[e.ID] = body
	}
	return all
}

func (in *loaded) document(s *schema.Schema) (*document.Document, error) {
	if in.object != nil {
		return document.Read(in.object, s), nil
	}
	d, err := document.Parse([]byte(in.file), s)
	if err != nil {
		text := "failed parsing declarative configuration: " + err.Error()
		return nil, schema.InvalidDeclarative(fault.Tree{"error": text})
	}
	return d, nil
}

// declarative reads the body. Options may stand in the query or beside the file.
func (q *request) declarative() (*loaded, error) {
	in := &loaded{options: map[string]any{}}
	kind := q.r.Header.Get("Content-Type")
	media, params, _ := mime.ParseMediaType(kind)
	var err error
	switch {
	case strings.HasPrefix(kind, "application/json"):
		err = q.declarativeJSON(in)
	case media == "application/yaml" || media == "text/yaml":
		err = q.declarativeText(in)
	case media == "application/x-www-form-urlencoded":
		if err = q.declarativeText(in); err == nil {
			in.form(decodeForm(in.file))
		}
	case media == "multipart/form-data":
		var values url.Values
		if values, _, err = q.parts(params["boundary"]); err == nil {
			in.form(values)
		}
	case kind != "" || q.r.ContentLength != 0:
		return nil, errMediaType
	}
	if err != nil {
		return nil, err
	}
	for name, values := range q.r.URL.Query() {
		in.options[name] = values[0]
	}
	if in.object == nil && in.file == "" {
		return nil, errNoConfig
	}
	return in, nil
}

func (q *request) declarativeJSON(in *loaded) error {
	if err := q.declarativeText(in); err != nil {
		return err
	}
	body, err := decodeJSON([]byte(in.file))
	if err != nil {
		return err
	}
	for _, name := range []string{"check_hash", "flatten_errors"} {
		in.options[name] = body[name]
	}
	if _, versioned := body["_format_version"]; versioned {
		delete(body, "check_hash")
		delete(body, "flatten_errors")
		in.object = body
		return nil
	}
	switch file := body["config"].(type) {
	case string:
		in.file = file
	case schema.Body:
		in.object = file
	}
	return nil
}

func (q *request) declarativeText(in *loaded) error {
	raw, err := q.read()
	in.file = string(raw)
	return err
}

func (in *loaded) form(values url.Values) {
	in.file = values.Get("config")
	for name := range values {
		in.options[name] = values.Get(name)
	}
}

// truthy reads a flag as Kong does.
func truthy(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v == 1
	case string:
		switch strings.ToLower(v) {
		case "true", "1", "on", "yes":
			return true
		}
	}
	return false
}

// exportConfig answers GET /config: all there is, as a file that POST /config takes.
func (q *request) exportConfig() error {
	all, err := q.Config.Everything(q.r.Context())
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("_format_version: '3.0'\n_transform: false\n")
	kind := ""
	for _, e := range all {
		if e.Table.Kind != kind {
			kind = e.Table.Kind
			b.WriteString(kind + ":\n")
		}
		if err := writeItem(&b, flatReferences(e.Table, q.renderPlain(e))); err != nil {
			return err
		}
	}
	q.json(http.StatusOK, map[string]string{"config": b.String()})
	return nil
}

// flatReferences names what an entity refers to by id alone.
func flatReferences(t *schema.Table, body schema.Body) schema.Body {
	for _, f := range t.Fields {
		if ref, ok := body[f.Name].(schema.Body); ok && f.Type == schema.Foreign {
			body[f.Name] = ref["id"]
		}
	}
	if t.Kind == "certificates" {
		delete(body, "snis")
	}
	return body
}

// writeItem writes one element of a list.
func writeItem(w io.Writer, body schema.Body) error {
	raw, err := yaml.Marshal([]any{whole(body)})
	if err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}

// whole writes numbers without a fraction as such.
func whole(v any) any {
	switch v := v.(type) {
	case schema.Body:
		for name, x := range v {
			v[name] = whole(x)
		}
	case []any:
		for i, x := range v {
			v[i] = whole(x)
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}
