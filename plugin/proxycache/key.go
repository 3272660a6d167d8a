package proxycache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// key is the hex of a SHA-256 over all that tells requests apart: who asks, on which route,
// the method, the path, the arguments in order of their names, and the headers that are
// named. It is valid as long as the exchange.
func (f *filter) key(x *plugin.Exchange) string {
	var room [1024]byte
	route, consumer := "default", ""
	if x.Route != nil {
		route = x.Route.ID
	}
	if x.Consumer != nil {
		consumer = x.Consumer.ID
	}
	path := x.Request.Path
	if f.foldCase {
		path = strings.ToLower(path)
	}
	b := part(part(part(part(room[:0], route), consumer), x.Request.Method), path)
	b = f.appendArguments(b, x.Request.Query)
	for _, name := range f.headers {
		b = binary.AppendUvarint(b, uint64(x.Request.Header.Count(name)))
		for v := range x.Request.Header.Values(name) {
			b = part(b, v)
		}
	}
	sum := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	return x.Text(hex.AppendEncode(text[:0], sum[:]))
}

// part appends a text with its length before it, so that no text can look like two: else a
// client could have its own answer given to others.
func part(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (f *filter) appendArguments(b []byte, query string) []byte {
	var all []plugin.Argument
	for a := range plugin.Arguments(query) {
		if len(f.arguments) == 0 || slices.Contains(f.arguments, a.Name) {
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(a, b plugin.Argument) int { return strings.Compare(a.Name, b.Name) })
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, a := range all {
		b = part(part(b, a.Name), a.Value)
		if a.Bare {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}
