package requesttransformer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// rules are the edits of one part of a request, in the order in which they are made.
type rules struct {
	remove                       []string
	rename, replace, add, append []rule
}

// rule is one name and the index of its value's text.
type rule struct {
	name string
	text int
}

func (r *rules) empty() bool {
	return len(r.remove)+len(r.rename)+len(r.replace)+len(r.add)+len(r.append) == 0
}

func (r *rules) edit(e payload.Editor, values []string) {
	for _, name := range r.remove {
		e.Remove(name)
	}
	for _, u := range r.rename {
		e.Rename(u.name, values[u.text])
	}
	for _, u := range r.replace {
		e.Replace(u.name, values[u.text])
	}
	for _, u := range r.add {
		e.Add(u.name, values[u.text])
	}
	for _, u := range r.append {
		e.Append(u.name, values[u.text])
	}
}

// editHeaders never touches Host, but that replace may give the upstream another one.
func (r *rules) editHeaders(x *plugin.Exchange, values []string) {
	h := &x.Request.Header
	for _, name := range r.remove {
		if !host(name) {
			h.Del(name)
		}
	}
	for _, u := range r.rename {
		renameHeader(h, u.name, values[u.text])
	}
	for _, u := range r.replace {
		if host(u.name) {
			x.Upstream.Host = values[u.text]
		} else if h.Count(u.name) > 0 {
			h.Set(u.name, values[u.text])
		}
	}
	for _, u := range r.add {
		if !host(u.name) && h.Count(u.name) == 0 {
			h.Append(u.name, values[u.text])
		}
	}
	for _, u := range r.append {
		if !host(u.name) {
			h.Append(u.name, values[u.text])
		}
	}
}

func host(name string) bool { return plugin.EqualName(name, "host") }

// renameHeader keeps the lines and their places; lines that had the new name are gone. The
// same name in another case is spelt anew.
func renameHeader(h *plugin.Header, name, to string) {
	if host(name) || host(to) || h.Count(name) == 0 {
		return
	}
	if !plugin.EqualName(name, to) {
		h.Del(to)
	}
	lines := h.Fields()
	for i := range lines {
		if plugin.EqualName(lines[i].Name, name) {
			lines[i].Name = to
		}
	}
}

func compileHeaders(t *texts, c *Config) (rules, error) {
	var r rules
	for _, name := range c.GetRemove().GetHeaders() {
		if !token(name) {
			return r, fmt.Errorf("config.remove.headers: '%s' is not a valid header", name)
		}
		r.remove = append(r.remove, name)
	}
	err := errors.Join(
		t.compile(&r.rename, "config.rename.headers", c.GetRename().GetHeaders(), token),
		t.compile(&r.replace, "config.replace.headers", c.GetReplace().GetHeaders(), token),
		t.compile(&r.add, "config.add.headers", c.GetAdd().GetHeaders(), token),
		t.compile(&r.append, "config.append.headers", c.GetAppend().GetHeaders(), token),
	)
	return r, err
}

func compileBody(t *texts, c *Config) (rules, error) {
	r := rules{remove: c.GetRemove().GetBody()}
	err := errors.Join(
		t.compile(&r.rename, "config.rename.body", c.GetRename().GetBody(), anything),
		t.compile(&r.replace, "config.replace.body", c.GetReplace().GetBody(), anything),
		t.compile(&r.add, "config.add.body", c.GetAdd().GetBody(), anything),
		t.compile(&r.append, "config.append.body", c.GetAppend().GetBody(), anything),
	)
	return r, err
}

func compileQuery(t *texts, c *Config) (rules, error) {
	r := rules{remove: c.GetRemove().GetQuerystring()}
	err := errors.Join(
		t.compile(&r.rename, "config.rename.querystring", c.GetRename().GetQuerystring(), anything),
		t.compile(&r.replace, "config.replace.querystring", c.GetReplace().GetQuerystring(), anything),
		t.compile(&r.add, "config.add.querystring", c.GetAdd().GetQuerystring(), anything),
		t.compile(&r.append, "config.append.querystring", c.GetAppend().GetQuerystring(), anything),
	)
	return r, err
}

// compile reads entries of the form name:value. The value may hold colons.
func (t *texts) compile(into *[]rule, field string, entries []string, valid func(string) bool) error {
	for _, entry := range entries {
		name, value, ok := strings.Cut(entry, ":")
		if !ok || name == "" {
			return fmt.Errorf("%s: invalid value: %s", field, entry)
		}
		if !valid(name) {
			return fmt.Errorf("%s: '%s' is not a valid header", field, name)
		}
		if value == "" {
			return fmt.Errorf("%s: key '%s' has no value", field, name)
		}
		i, err := t.add(field, value)
		if err != nil {
			return err
		}
		*into = append(*into, rule{name, i})
	}
	return nil
}

func anything(string) bool { return true }

// token reports whether s can be the name of a header.
func token(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
