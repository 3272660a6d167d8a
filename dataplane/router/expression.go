package router

import (
	"strings"

	"github.com/sekifuda/sekifuda/model/atc"
)

// expressionBits put a route with an expression before all without one, as Kong does.
const expressionBits = 0xFF << 56

// compileExpression makes the one part of a route that has an expression. Its places in the
// tables follow from hosts and paths without which it cannot hold; the expression itself is
// then the whole condition.
func (c *compiled[T]) compileExpression(r *Route, value T) error {
	fields, stream := atc.HTTPFields, !answersHTTP(r.Protocols)
	if stream {
		fields = atc.StreamFields
	}
	e, err := atc.Compile(r.Expression, fields)
	if err != nil {
		return &RouteError{r.ID, "expression", r.Expression, err}
	}
	t := &tests{condition: compileCondition(e), stream: stream, rare: true, protocols: protocolTest(r.Protocols, true)}
	p := part[T]{
		prio:  expressionBits | r.Priority,
		rule:  &rule[T]{rank: strings.ToLower(r.ID), tests: t, value: value},
		paths: []place{{}},
	}
	if stream {
		p.paths[0].key = streamPath
	} else {
		c.hosts = hostsOf(e)
		for _, prefix := range pathsOf(e) {
			p.paths = append(p.paths, place{key: prefix})
		}
		if len(p.paths) > 1 {
			p.paths = p.paths[1:]
		}
	}
	if len(c.hosts) == 0 {
		c.hosts = []hostKey{{}}
	}
	c.parts = append(c.parts, p)
	return nil
}

// maxPlaces bounds the places of one expression in each table: with more alternatives it
// stands where every request passes.
const maxPlaces = 64

// hostsOf returns hosts of which a request must have one for e to hold; nil: any will do.
func hostsOf(e *atc.Expression) []hostKey {
	return necessary(e, func(p *atc.Predicate) []hostKey {
		if p.Field != "http.host" || !isASCII(p.Value.Text) || p.Value.Text == "" {
			return nil
		}
		name := lowerASCII(p.Value.Text)
		switch p.Operator {
		case atc.Equals:
			return []hostKey{{kind: exactHost, name: name}}
		case atc.Postfix:
			if name[0] == '.' {
				return []hostKey{{kind: suffixHost, name: name}}
			}
		case atc.Prefix:
			if name[len(name)-1] == '.' {
				return []hostKey{{kind: prefixHost, name: name}}
			}
		}
		return nil
	})
}

// pathsOf returns prefixes of which a request's path must have one.
func pathsOf(e *atc.Expression) []string {
	return necessary(e, func(p *atc.Predicate) []string {
		if p.Field != "http.path" || p.Lower {
			return nil
		}
		prefix := ""
		switch p.Operator {
		case atc.Equals, atc.Prefix:
			prefix = p.Value.Text
		case atc.Regex:
			prefix = anchoredLiteral(p.Value.Text)
		}
		if prefix == "" {
			return nil
		}
		return []string{prefix}
	})
}

// necessary collects what leaf says of each predicate into alternatives of which one must
// hold: of two sides that must both hold the narrower, of two of which one must, both.
func necessary[K comparable](e *atc.Expression, leaf func(*atc.Predicate) []K) []K {
	switch e.Logic {
	case atc.Leaf:
		return leaf(e.Predicate)
	case atc.Not:
		return nil
	}
	a, b := necessary(e.Left, leaf), necessary(e.Right, leaf)
	if e.Logic == atc.Or {
		if a == nil || b == nil || len(a)+len(b) > maxPlaces {
			return nil
		}
		return distinct(append(a, b...))
	}
	if a == nil || b != nil && len(b) < len(a) {
		return b
	}
	return a
}

func distinct[K comparable](list []K) []K {
	seen := map[K]bool{}
	out := list[:0:0]
	for _, k := range list {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
