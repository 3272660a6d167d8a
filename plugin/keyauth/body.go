package keyauth

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// maxBody bounds the bodies in which a key is looked for: a form or a small document has one.
const maxBody = 8 << 20

// body is a request body that may hold a key. One that cannot be read counts as empty.
type body struct {
	raw       []byte
	form      url.Values
	object    map[string]any
	multipart map[string][]string
	boundary  string
}

func readBody(x *plugin.Exchange) body {
	var b body
	raw, err := x.ReadBody(maxBody)
	if err != nil || len(raw) == 0 {
		return b
	}
	b.raw = raw
	media, params, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type"))
	if err != nil {
		return b
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		b.form, _ = url.ParseQuery(string(raw)) // the pairs that are sound count
	case strings.HasPrefix(media, "application/json"):
		_ = json.Unmarshal(raw, &b.object) // anything else than an object is empty
	case media == "multipart/form-data":
		b.boundary = params["boundary"]
		b.multipart = readParts(raw, b.boundary)
	}
	return b
}

func readParts(raw []byte, boundary string) map[string][]string {
	parts := map[string][]string{}
	for r := multipart.NewReader(bytes.NewReader(raw), boundary); ; {
		p, err := r.NextRawPart()
		if err != nil {
			return parts
		}
		v, err := io.ReadAll(p)
		if err != nil {
			return parts
		}
		if p.FileName() == "" {
			parts[p.FormName()] = append(parts[p.FormName()], string(v))
		}
	}
}

// find returns the first value of name and how often it stands there.
func (b *body) find(name string) (string, int) {
	for _, values := range []map[string][]string{b.form, b.multipart} {
		if v := values[name]; len(v) > 0 {
			return v[0], len(v)
		}
	}
	switch v := b.object[name].(type) {
	case string:
		return v, 1
	case []any:
		return "", len(v) // more than one key, or none that is a text
	}
	return "", 0
}

// remove takes name out of the body and encodes it anew.
func (b *body) remove(x *plugin.Exchange, name string) {
	switch {
	case b.form.Has(name):
		b.form.Del(name)
		x.SetBody([]byte(b.form.Encode()))
	case b.object[name] != nil:
		delete(b.object, name)
		if raw, err := json.Marshal(b.object); err == nil {
			x.SetBody(raw)
		}
	case b.multipart[name] != nil:
		x.SetBody(b.withoutPart(name))
	}
}

func (b *body) withoutPart(name string) []byte {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	if err := w.SetBoundary(b.boundary); err != nil {
		return b.raw
	}
	for r := multipart.NewReader(bytes.NewReader(b.raw), b.boundary); ; {
		p, err := r.NextRawPart()
		if err != nil {
			break
		}
		if p.FormName() == name {
			continue
		}
		to, err := w.CreatePart(p.Header)
		if err != nil {
			return b.raw
		}
		if _, err := io.Copy(to, p); err != nil {
			return b.raw
		}
	}
	if err := w.Close(); err != nil {
		return b.raw
	}
	return out.Bytes()
}
