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
	texts                        texts
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
	if _, ok := e.(*payload.Parts); ok {
		return // Kong appends nothing to multipart bodies
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

// compileHeaders compiles what is done to headers. A text that is no template fails the
// requests, not the configuration: Kong looks at these only when it renders them.
func compileHeaders(c *Config) (rules, error) {
	var r rules
	for _, entry := range c.GetRemove().GetHeaders() {
		name, _ := split(entry)
		if !token(name) {
			return r, fmt.Errorf("config.remove.headers: '%s' is not a valid header", name)
		}
		r.remove = append(r.remove, name)
	}
	err := errors.Join(
		r.header(&r.rename, "config.rename.headers", c.GetRename().GetHeaders()),
		r.header(&r.replace, "config.replace.headers", c.GetReplace().GetHeaders()),
		r.header(&r.add, "config.add.headers", c.GetAdd().GetHeaders()),
		r.header(&r.append, "config.append.headers", c.GetAppend().GetHeaders()),
	)
	return r, err
}

func compileBody(c *Config) (rules, error) {
	r := rules{remove: removed(c.GetRemove().GetBody())}
	err := errors.Join(
		r.argument(&r.rename, "config.rename.body", c.GetRename().GetBody()),
		r.argument(&r.replace, "config.replace.body", c.GetReplace().GetBody()),
		r.argument(&r.add, "config.add.body", c.GetAdd().GetBody()),
		r.argument(&r.append, "config.append.body", c.GetAppend().GetBody()),
	)
	return r, err
}

func compileQuery(c *Config) (rules, error) {
	r := rules{remove: removed(c.GetRemove().GetQuerystring())}
	err := errors.Join(
		r.argument(&r.rename, "config.rename.querystring", c.GetRename().GetQuerystring()),
		r.argument(&r.replace, "config.replace.querystring", c.GetReplace().GetQuerystring()),
		r.argument(&r.add, "config.add.querystring", c.GetAdd().GetQuerystring()),
		r.argument(&r.append, "config.append.querystring", c.GetAppend().GetQuerystring()),
	)
	return r, err
}

// split reads name:value. The value may hold colons, but those at its start are not its own.
func split(entry string) (name, value string) {
	name, value, _ = strings.Cut(entry, ":")
	return name, strings.TrimLeft(value, ":")
}

func removed(entries []string) (names []string) {
	for _, entry := range entries {
		name, _ := split(entry)
		names = append(names, name)
	}
	return names
}

// header reads entries for headers. One without a value changes nothing, as in Kong.
func (r *rules) header(into *[]rule, field string, entries []string) error {
	for _, entry := range entries {
		name, value := split(entry)
		if !strings.Contains(entry, ":") {
			return fmt.Errorf("%s: invalid value: %s", field, entry)
		}
		if !token(name) {
			return fmt.Errorf("%s: '%s' is not a valid header", field, name)
		}
		if value == "" {
			continue
		}
		i, err := r.texts.add(value)
		if err != nil {
			r.texts.broken = errors.Join(r.texts.broken, fmt.Errorf("%s: %w", field, err))
			continue
		}
		*into = append(*into, rule{name, i})
	}
	return nil
}

// argument reads entries for a body or a query.
func (r *rules) argument(into *[]rule, field string, entries []string) error {
	for at, entry := range entries {
		name, value := split(entry)
		if name == "" || value == "" {
			return fmt.Errorf("%s[%d]: key '%s' has no value", field, at, name)
		}
		i, err := r.texts.add(value)
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", field, at, err)
		}
		*into = append(*into, rule{name, i})
	}
	return nil
}

// token reports whether s can be the name of a header.
func token(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
