package responsetransformer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// body is the changes of a JSON object: of its own members, not of what is inside them.
type body struct {
	remove, rename       []pair
	replace, add, append []member
	log                  *slog.Logger
}

// member is a name and the JSON of its value; nil when the value is not of its type.
type member struct {
	name  string
	value json.RawMessage
}

func (b *body) idle() bool {
	return len(b.remove)+len(b.rename)+len(b.replace)+len(b.add)+len(b.append) == 0
}

// members reads a list whose types, by position, may be shorter: the rest are texts.
func members(lines, types []string) []member {
	var out []member
	for i, p := range pairs(lines) {
		m := member{name: p.name}
		if i < len(types) {
			m.value = typed(p.value, types[i])
		} else {
			m.value = text(p.value)
		}
		out = append(out, m)
	}
	return out
}

func typed(value, kind string) json.RawMessage {
	switch kind {
	case "boolean":
		return json.RawMessage(strconv.FormatBool(value == "true"))
	case "number":
		return number(value)
	}
	return text(value)
}

func text(value string) json.RawMessage {
	if value == "" {
		return nil // Kong takes an empty value for none
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(value) != nil {
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// number keeps a JSON number as it is written and turns what else Lua reads as one into it.
func number(value string) json.RawMessage {
	value = strings.TrimSpace(value)
	if json.Valid([]byte(value)) && value != "" && strings.ContainsRune("-0123456789", rune(value[0])) {
		return json.RawMessage(value)
	}
	if n, err := strconv.ParseInt(value, 0, 64); err == nil && strings.ContainsAny(value, "xX") {
		return json.RawMessage(strconv.FormatInt(n, 10))
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n != n || n > maxFloat || n < -maxFloat {
		return nil
	}
	return json.RawMessage(strconv.FormatFloat(n, 'g', -1, 64))
}

const maxFloat = 1.7976931348623157e308

var errNoObject = errors.New("not a JSON object")

// edit returns the changed body, or the body as it is when it is no JSON object.
func (b *body) edit(old []byte) []byte {
	o, err := parse(old)
	if err != nil {
		b.log.Warn("transform answer", "plugin", "response-transformer", "error", err)
		return old
	}
	for _, p := range b.remove {
		o.del(p.name)
	}
	for _, p := range b.rename {
		if v := o.get(p.name); v != nil && p.value != "" {
			o.del(p.name)
			o.set(p.value, v)
		}
	}
	for _, m := range b.replace {
		if v := o.get(m.name); v != nil && m.value != nil && !isFalse(v) {
			o.set(m.name, m.value)
		}
	}
	for _, m := range b.add {
		if v := o.get(m.name); m.value != nil && (v == nil || isFalse(v)) {
			o.set(m.name, m.value)
		}
	}
	for _, m := range b.append {
		if m.value != nil {
			o.append(m)
		}
	}
	return o.encode(len(old))
}

// isFalse reports what Lua takes for absent.
func isFalse(v json.RawMessage) bool { return string(v) == "false" }

// object is the members of a JSON object, in their order. Values are as they were written,
// so that numbers keep their digits. Its zero value cannot be set in: see parse.
type object struct {
	members []member // one that was removed has no value
	index   map[string]int
}

func parse(data []byte) (*object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if open != json.Delim('{') {
		return nil, errNoObject
	}
	o := &object{index: map[string]int{}}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		o.set(name.(string), v) // a member's name is a text, else Token fails
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if dec.More() {
		return nil, errNoObject
	}
	return o, nil
}

// get returns a member's value, nil if there is none.
func (o *object) get(name string) json.RawMessage {
	if i, ok := o.index[name]; ok {
		return o.members[i].value
	}
	return nil
}

func (o *object) set(name string, v json.RawMessage) {
	if i, ok := o.index[name]; ok {
		o.members[i].value = v
		return
	}
	o.index[name] = len(o.members)
	o.members = append(o.members, member{name, v})
}

func (o *object) del(name string) {
	if i, ok := o.index[name]; ok {
		o.members[i].value = nil
	}
}

// append adds a value to what is there: a text becomes a list of both, a list grows, anything
// else gives way to a list of one. (Kong makes an object's next number of it.)
func (o *object) append(m member) {
	old := o.get(m.name)
	if old == nil {
		o.set(m.name, list(m.value))
		return
	}
	switch old[0] {
	case '"':
		o.set(m.name, list(old, m.value))
	case '[':
		if inside := bytes.TrimSpace(old[1 : len(old)-1]); len(inside) > 0 {
			o.set(m.name, list(inside, m.value))
		} else {
			o.set(m.name, list(m.value))
		}
	case '{':
		inner, err := parse(old)
		if err != nil {
			return // it was read before
		}
		inner.set(next(inner), m.value)
		o.set(m.name, inner.encode(len(old)))
	default:
		o.set(m.name, list(m.value))
	}
}

// next is the first number that is not a name yet.
func next(o *object) string {
	for n := 1; ; n++ {
		if name := strconv.Itoa(n); o.get(name) == nil {
			return name
		}
	}
}

func list(values ...json.RawMessage) json.RawMessage {
	b := json.RawMessage{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

func (o *object) encode(about int) []byte {
	b := append(make([]byte, 0, about+64), '{')
	for _, m := range o.members {
		if m.value == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		name := text(m.name)
		if name == nil {
			name = json.RawMessage(`""`)
		}
		b = append(append(append(b, name...), ':'), m.value...)
	}
	return append(b, '}')
}
