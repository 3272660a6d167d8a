package plugin

import (
	"iter"
	"unsafe"
)

// Field is one header line. Name keeps the case in which it came.
type Field struct {
	Name  string
	Value string
	wire  bool // both are, or were, parts of one line that a parser has checked
}

// Wire returns the line as it came, "Name: value" without its end, when it is still that: a name
// and a value of a message that a parser has checked, with a colon and a space between them.
func (f *Field) Wire() (line string, ok bool) {
	name, value := unsafe.StringData(f.Name), unsafe.StringData(f.Value)
	// Whoever has put another string in the place of one has torn them apart.
	if !f.wire || uintptr(unsafe.Pointer(name))+uintptr(len(f.Name)+2) != uintptr(unsafe.Pointer(value)) {
		return "", false
	}
	return unsafe.String(name, len(f.Name)+2+len(f.Value)), true
}

// Header is an ordered list of header lines. Names compare without regard to ASCII case. Its
// strings may point into a connection's buffer: they are valid until the exchange's log
// phase ends, and a filter that keeps one longer clones it. The zero value is empty.
type Header struct {
	fields []Field
}

// Reset forgets all lines and keeps the memory.
func (h *Header) Reset() { h.fields = h.fields[:0] }

// Append puts a line at the end, with no regard to lines of the same name.
func (h *Header) Append(name, value string) {
	h.fields = append(h.fields, Field{Name: name, Value: value})
}

// AppendWire is Append for a parser that has checked the line: name is a token, value has no
// control bytes, and they are parts of one buffer with ": " between them.
func (h *Header) AppendWire(name, value string) {
	h.fields = append(h.fields, Field{name, value, true})
}

// Get returns the first value of name, or "".
func (h *Header) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the first value of name and whether there is one.
func (h *Header) Lookup(name string) (string, bool) {
	if i := h.find(0, name); i >= 0 {
		return h.fields[i].Value, true
	}
	return "", false
}

// find returns the place of the first line of that name, of those from a place on; -1: there is
// none.
func (h *Header) find(from int, name string) int {
	for i := from; i < len(h.fields); i++ {
		if n := h.fields[i].Name; len(n) == len(name) && EqualName(n, name) {
			return i
		}
	}
	return -1
}

// Count returns the number of lines of that name.
func (h *Header) Count(name string) int {
	n := 0
	for i := h.find(0, name); i >= 0; i = h.find(i+1, name) {
		n++
	}
	return n
}

// Values yields the values of name in order.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := h.find(0, name); i >= 0 && yield(h.fields[i].Value); i = h.find(i+1, name) {
		}
	}
}

// Set makes value the only one of name: the first line of that name keeps its place.
func (h *Header) Set(name, value string) {
	i := h.find(0, name)
	if i < 0 {
		h.Append(name, value)
		return
	}
	h.fields[i] = Field{Name: name, Value: value}
	h.delFrom(i+1, name)
}

// Del removes every line of that name and reports whether there was one.
func (h *Header) Del(name string) bool { return h.delFrom(0, name) }

// Drop removes the lines whose name unwanted takes.
func (h *Header) Drop(unwanted func(name string) bool) {
	kept := 0
	for i := range h.fields {
		if unwanted(h.fields[i].Name) {
			continue
		}
		if kept < i {
			h.fields[kept] = h.fields[i]
		}
		kept++
	}
	h.fields = h.fields[:kept]
}

func (h *Header) delFrom(from int, name string) bool {
	first := h.find(from, name)
	if first < 0 {
		return false // mostly there is none: nothing is moved
	}
	kept := h.fields[:first]
	for _, f := range h.fields[first+1:] {
		if !EqualName(f.Name, name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
	return true
}

// Fields returns the lines in order. The slice is valid until the next change; its lines
// may be edited in place.
func (h *Header) Fields() []Field { return h.fields }

// Len returns the number of lines.
func (h *Header) Len() int { return len(h.fields) }

// EqualName reports whether two header names are the same without regard to ASCII case.
func EqualName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
