package responsetransformer

import "github.com/sekifuda/sekifuda/plugin"

// headers are the changes of a head.
type headers struct {
	remove, rename, replace, add, append []pair
}

// apply makes the changes. Whether a header is there is asked of the head as it was before
// all of them, as in Kong 3.9.1: so of two added lines of one name the second stands, and
// what was removed is not added again.
func (l *headers) apply(h *plugin.Header) {
	var room [8]bool
	there := room[:0]
	for _, list := range [3][]pair{l.rename, l.replace, l.add} {
		for _, p := range list {
			_, ok := h.Lookup(p.name)
			there = append(there, ok)
		}
	}
	for _, p := range l.remove {
		h.Del(p.name)
	}
	there = l.move(h, there)
	for i, p := range l.replace {
		if there[i] && p.value != "" {
			h.Set(p.name, p.value)
		}
	}
	there = there[len(l.replace):]
	for i, p := range l.add {
		if !there[i] && p.value != "" {
			h.Set(p.name, p.value)
		}
	}
	for _, p := range l.append {
		if p.value != "" {
			h.Append(p.name, p.value)
		}
	}
}

// move renames. Lines of the new name give way; a new case of the same name is only that.
func (l *headers) move(h *plugin.Header, there []bool) []bool {
	for i, p := range l.rename {
		if !there[i] || p.value == "" {
			continue
		}
		if _, ok := h.Lookup(p.name); !ok {
			continue
		}
		if !plugin.EqualName(p.name, p.value) {
			h.Del(p.value)
		}
		fields := h.Fields()
		for k := range fields {
			if plugin.EqualName(fields[k].Name, p.name) {
				fields[k].Name = p.value
			}
		}
	}
	return there[len(l.rename):]
}
