package payload

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"
)

// Parts is a multipart/form-data body. Parts of other names keep their bytes and headers.
type Parts struct {
	boundary string
	parts    []part
	changed  bool
}

type part struct {
	name   string
	header textproto.MIMEHeader
	body   []byte
}

var _ Editor = (*Parts)(nil)

// maxParts bounds the parts of a body: each costs more memory than its bytes.
const maxParts = 1000

// parseParts reads a body, or returns nil when it is broken.
func parseParts(contentType string, body []byte) *Parts {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil
	}
	p := &Parts{boundary: params["boundary"]}
	if len(body) == 0 {
		return p
	}
	r := multipart.NewReader(bytes.NewReader(body), p.boundary)
	for range maxParts {
		next, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			return nil
		}
		content, err := io.ReadAll(next)
		if err != nil {
			return nil
		}
		p.parts = append(p.parts, part{next.FormName(), next.Header, content})
	}
	return nil
}

// Lookup implements Editor.
func (p *Parts) Lookup(name string) (text string, count int) {
	for _, q := range p.parts {
		if q.name != name || name == "" {
			continue
		}
		if count == 0 {
			text = string(q.body)
		}
		count++
	}
	return text, count
}

// Remove implements Editor.
func (p *Parts) Remove(name string) {
	kept := p.parts[:0]
	for _, q := range p.parts {
		if q.name != name || name == "" {
			kept = append(kept, q)
		}
	}
	p.changed = p.changed || len(kept) != len(p.parts)
	p.parts = kept
}

// Rename implements Editor. A file keeps its name and type.
func (p *Parts) Rename(name, to string) {
	if _, n := p.Lookup(name); n == 0 || name == to {
		return
	}
	p.Remove(to)
	for i := range p.parts {
		if q := &p.parts[i]; q.name == name {
			q.name, p.changed = to, true
			_, params, _ := mime.ParseMediaType(q.header.Get("Content-Disposition"))
			q.header.Set("Content-Disposition", disposition(to, params["filename"]))
		}
	}
}

// Replace implements Editor.
func (p *Parts) Replace(name, value string) {
	if _, n := p.Lookup(name); n == 0 {
		return
	}
	p.Remove(name)
	p.Append(name, value)
}

// Add implements Editor.
func (p *Parts) Add(name, value string) {
	if _, n := p.Lookup(name); n == 0 {
		p.Append(name, value)
	}
}

// Append implements Editor.
func (p *Parts) Append(name, value string) {
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", disposition(name, ""))
	p.parts, p.changed = append(p.parts, part{name, h, []byte(value)}), true
}

var quote = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "%0D", "\n", "%0A")

func disposition(name, file string) string {
	d := `form-data; name="` + quote.Replace(name) + `"`
	if file != "" {
		d += `; filename="` + quote.Replace(file) + `"`
	}
	return d
}

// Changed implements Editor.
func (p *Parts) Changed() bool { return p.changed }

// Bytes implements Editor.
func (p *Parts) Bytes() []byte {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if w.SetBoundary(p.boundary) != nil {
		return nil // a boundary that was parsed is one that may be set
	}
	for _, q := range p.parts {
		dst, err := w.CreatePart(q.header)
		if err == nil {
			_, err = dst.Write(q.body)
		}
		if err != nil {
			return nil // a buffer takes every write
		}
	}
	_ = w.Close()
	return b.Bytes()
}
