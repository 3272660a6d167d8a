package payload

import (
	"bytes"
	"encoding/json"
)

// Object is a JSON object, edited at its top level. Members keep their order and the
// spelling of their values.
type Object struct {
	members []member
	changed bool
}

type member struct {
	name  string
	value json.RawMessage
}

var _ Editor = (*Object)(nil)

// parseObject reads a body, or returns nil when it is no object.
func parseObject(body []byte) *Object {
	if len(body) == 0 {
		return &Object{}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	o := &Object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil
		}
		o.set(name.(string), value)
	}
	if _, err := d.Token(); err != nil || d.More() {
		return nil
	}
	o.changed = false
	return o
}

// set keeps one member of each name: the last one counts.
func (o *Object) set(name string, value json.RawMessage) {
	o.changed = true
	if i := o.find(name); i >= 0 {
		o.members[i].value = value
		return
	}
	o.members = append(o.members, member{name, value})
}

func (o *Object) find(name string) int {
	for i := range o.members {
		if o.members[i].name == name {
			return i
		}
	}
	return -1
}

// Lookup implements Editor. Only a string has a text; an array counts as many values.
func (o *Object) Lookup(name string) (text string, count int) {
	i := o.find(name)
	if i < 0 {
		return "", 0
	}
	value := o.members[i].value
	if value[0] == '[' || value[0] == '{' {
		return "", 2
	}
	if value[0] == '"' {
		_ = json.Unmarshal(value, &text) // it was decoded before
	}
	return text, 1
}

// Remove implements Editor.
func (o *Object) Remove(name string) {
	if i := o.find(name); i >= 0 {
		o.members = append(o.members[:i], o.members[i+1:]...)
		o.changed = true
	}
}

// Rename implements Editor. A member that is false is none, as in Kong.
func (o *Object) Rename(name, to string) {
	i := o.find(name)
	if !o.holds(name) || name == to {
		return
	}
	value := o.members[i].value
	o.Remove(name)
	o.set(to, value)
}

// holds reports whether there is a member of that name which is not false: Kong takes false
// for absent.
func (o *Object) holds(name string) bool {
	i := o.find(name)
	return i >= 0 && string(o.members[i].value) != "false"
}

// Replace implements Editor. The value becomes a string, whatever it was but false.
func (o *Object) Replace(name, value string) {
	if o.holds(name) {
		o.set(name, text(value))
	}
}

// Add implements Editor. It also sets a member that is false.
func (o *Object) Add(name, value string) {
	if !o.holds(name) {
		o.set(name, text(value))
	}
}

// Append implements Editor. A string or an array becomes a longer array; what is neither is
// replaced by an array of the one value, and an object stays, as it has no end.
func (o *Object) Append(name, value string) {
	var items []json.RawMessage
	if i := o.find(name); i >= 0 {
		switch old := o.members[i].value; old[0] {
		case '"':
			items = append(items, old)
		case '[':
			_ = json.Unmarshal(old, &items) // it was decoded before
		case '{':
			return
		}
	}
	array, err := json.Marshal(append(items, text(value)))
	if err != nil {
		return // a body of valid parts is valid
	}
	o.set(name, array)
}

// Changed implements Editor.
func (o *Object) Changed() bool { return o.changed }

// Bytes implements Editor.
func (o *Object) Bytes() []byte {
	b := []byte{'{'}
	for i, m := range o.members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, text(m.name)...), ':'), m.value...)
	}
	return append(b, '}')
}

// text encodes a string without escaping for HTML.
func text(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return bytes.TrimRight(b.Bytes(), "\n")
}

// ParseObject reads a JSON object, or returns nil when body is none. An empty body is an empty
// object.
func ParseObject(body []byte) *Object { return parseObject(body) }

// Raw returns the encoded value of a member.
func (o *Object) Raw(name string) (json.RawMessage, bool) {
	if i := o.find(name); i >= 0 {
		return o.members[i].value, true
	}
	return nil, false
}

// SetRaw sets a member to an encoded value.
func (o *Object) SetRaw(name string, value json.RawMessage) { o.set(name, value) }
