// Package payload edits the named values that requests carry: queries, form bodies, the top
// level of JSON objects, and multipart bodies. What an edit does not touch stays as the client
// sent it.
//
// It knows encodings; which value to change, and why, is a plugin's. It is no plugin. Enter
// at Parse for a body and ParseArgs for a query.
package payload

import "strings"

// Editor is a set of named values in order. It belongs to one exchange.
type Editor interface {
	// Lookup returns the text of the first value of name that is one, and how many values
	// there are. A value that is no text (a number, a nested object) counts and has no text.
	Lookup(name string) (text string, count int)
	// Remove removes every value of name.
	Remove(name string)
	// Rename gives the values of name another one, instead of those it had.
	Rename(name, to string)
	// Replace makes value the only one of a name that is there.
	Replace(name, value string)
	// Add sets a name that is not there.
	Add(name, value string)
	// Append adds a value behind those of name.
	Append(name, value string)
	// Changed reports whether Bytes differs from what was parsed.
	Changed() bool
	// Bytes returns the encoded values.
	Bytes() []byte
}

// Kind is how a body carries values.
type Kind uint8

// The kinds that can be edited.
const (
	Other Kind = iota
	JSON
	Form
	Multipart
)

// KindOf reads a Content-Type as Kong does: by what it contains.
func KindOf(contentType string) Kind {
	t := strings.ToLower(contentType)
	switch {
	case strings.Contains(t, "multipart/form-data"):
		return Multipart
	case strings.Contains(t, "application/x-www-form-urlencoded"):
		return Form
	case strings.Contains(t, "application/json"):
		return JSON
	}
	return Other
}

// Parse reads a body. It returns nil for one that cannot be edited: of another type, broken,
// or JSON that is no object. An empty JSON body is an empty object.
func Parse(contentType string, body []byte) Editor {
	switch KindOf(contentType) {
	case JSON:
		if o := parseObject(body); o != nil {
			return o
		}
	case Form:
		return ParseArgs(string(body))
	case Multipart:
		if p := parseParts(contentType, body); p != nil {
			return p
		}
	}
	return nil
}
