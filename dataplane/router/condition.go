package router

import (
	"net/netip"
	"strings"

	"github.com/sekifuda/sekifuda/model/atc"
)

// source is where a condition finds the values of its field.
type source uint8

const (
	fromMethod source = iota
	fromHost
	fromPath
	fromSegments
	fromSegmentCount
	fromHeader
	fromQuery
	fromSNI
	fromProtocol
	fromSourceIP
	fromSourcePort
	fromDestinationIP
	fromDestinationPort
)

var sources = map[string]source{
	"http.method": fromMethod, "http.host": fromHost, "http.path": fromPath, "http.path.segments.len": fromSegmentCount,
	"tls.sni": fromSNI, "net.protocol": fromProtocol, "net.src.ip": fromSourceIP, "net.src.port": fromSourcePort,
	"net.dst.ip": fromDestinationIP, "net.dst.port": fromDestinationPort,
}

// condition is an expression as requests are held against it.
type condition struct {
	logic       atc.Logic
	left, right *condition

	test   *atc.Predicate
	from   source
	name   string // of a header, folded, or of an argument
	lo, hi int    // of segments
}

func compileCondition(e *atc.Expression) *condition {
	if e == nil {
		return nil
	}
	c := &condition{logic: e.Logic, left: compileCondition(e.Left), right: compileCondition(e.Right), test: e.Predicate}
	if e.Logic == atc.Leaf {
		c.find(e.Predicate.Field)
	}
	return c
}

// find settles where the values are. Every field that passed atc's check has a place.
func (c *condition) find(field string) {
	if from, ok := sources[field]; ok {
		c.from = from
		return
	}
	if name, ok := strings.CutPrefix(field, "http.headers."); ok {
		c.from, c.name = fromHeader, foldName(name)
		return
	}
	if name, ok := strings.CutPrefix(field, "http.queries."); ok {
		c.from, c.name = fromQuery, name
		return
	}
	c.from = fromSegments
	c.lo, c.hi, _ = atc.Segments(field)
}

// trace notes what matched, for what comes after the match; nil while routes are tried.
type trace struct {
	prefix string // of http.path: the text that it was found equal to, to begin with, or to match
	test   *atc.Predicate
	text   string // in which the last regex with groups was found
}

// ok reports whether c holds. Both sides are tried in order, as far as needed; a trace keeps
// what a side noted that held in vain, as atc-router does.
func (c *condition) ok(q *Request, t *trace) bool {
	switch c.logic {
	case atc.And:
		return c.left.ok(q, t) && c.right.ok(q, t)
	case atc.Or:
		return c.left.ok(q, t) || c.right.ok(q, t)
	case atc.Not:
		return !c.left.ok(q, t)
	}
	switch c.from {
	case fromHeader:
		return c.header(q, t)
	case fromQuery:
		return c.query(q, t)
	case fromSegmentCount:
		return c.number(int64(segmentCount(q.Path)))
	case fromSourcePort:
		return q.Source.Port() != 0 && c.number(int64(q.Source.Port()))
	case fromDestinationPort:
		return q.Port != 0 && c.number(int64(q.Port))
	case fromSourceIP:
		return c.address(q.Source.Addr())
	case fromDestinationIP:
		return c.address(q.Destination)
	}
	v, ok := c.single(q)
	return ok && c.text(v, q, t)
}

// single returns the value of a field that has one; false when it has none.
func (c *condition) single(q *Request) (string, bool) {
	switch c.from {
	case fromMethod:
		return q.Method, true
	case fromHost:
		return q.Host, q.Host != ""
	case fromPath:
		return q.Path, true
	case fromSNI:
		return q.SNI, q.SNI != ""
	case fromProtocol:
		return q.protocol(), true
	}
	return segments(q.Path, c.lo, c.hi)
}

func (q *Request) protocol() string {
	switch {
	case q.Stream && q.TLS:
		return "tls"
	case q.Stream:
		return "tcp"
	case q.TLS:
		return "https"
	}
	return "http"
}

func (c *condition) header(q *Request, t *trace) bool {
	if q.Header == nil {
		return false
	}
	fields, found := q.Header.Fields(), false
	for i := range fields {
		if !sameName(c.name, fields[i].Name) {
			continue
		}
		found = true
		if ok := c.text(fields[i].Value, q, t); ok == c.test.Any {
			return ok
		}
	}
	return found && !c.test.Any
}

// query goes through the arguments of one name. One without "=" is the empty text.
func (c *condition) query(q *Request, t *trace) bool {
	found := false
	for rest := q.Query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		if !sameArgument(name, c.name) {
			continue
		}
		found = true
		if ok := c.text(q.unescape(value), q, t); ok == c.test.Any {
			return ok
		}
	}
	return found && !c.test.Any
}

// text holds one value of a text field against the predicate.
func (c *condition) text(v string, q *Request, t *trace) bool {
	p := c.test
	if p.Lower {
		v = q.lower(v)
	}
	ok := false
	switch p.Operator {
	case atc.Equals:
		ok = v == p.Value.Text
	case atc.NotEquals:
		return v != p.Value.Text
	case atc.Prefix:
		ok = strings.HasPrefix(v, p.Value.Text)
	case atc.Postfix:
		ok = strings.HasSuffix(v, p.Value.Text)
	case atc.Contains:
		return strings.Contains(v, p.Value.Text)
	case atc.Regex:
		ok = p.Value.Regexp.MatchString(v)
	}
	if ok && t != nil {
		t.note(c, v)
	}
	return ok
}

func (t *trace) note(c *condition, v string) {
	p := c.test
	matched := p.Value.Text
	if p.Operator == atc.Regex {
		if p.Lower || c.from == fromQuery {
			v = strings.Clone(v) // it may be in memory that the next value takes
		}
		matched = p.Value.Regexp.FindString(v)
		if p.Value.Regexp.NumSubexp() > 0 {
			t.test, t.text = p, v
		}
	}
	if c.from == fromPath {
		t.prefix = matched
	}
}

func (c *condition) number(n int64) bool {
	v := c.test.Value.Int
	switch c.test.Operator {
	case atc.Equals:
		return n == v
	case atc.NotEquals:
		return n != v
	case atc.Greater:
		return n > v
	case atc.GreaterOrEqual:
		return n >= v
	case atc.Less:
		return n < v
	}
	return n <= v
}

func (c *condition) address(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	v := &c.test.Value
	switch c.test.Operator {
	case atc.Equals:
		return a == v.Addr
	case atc.NotEquals:
		return a != v.Addr
	case atc.In:
		return v.CIDR.Contains(a)
	}
	return !v.CIDR.Contains(a)
}

// fill reports what the condition of the route that was found matched.
func (c *condition) fill(q *Request, prefix *string, names, values *[]string) {
	var t trace
	c.ok(q, &t)
	*prefix = t.prefix
	if t.test == nil {
		return
	}
	re := t.test.Value.Regexp
	*names = re.SubexpNames()[1:]
	groups := re.FindStringSubmatch(t.text)
	*values = append(*values, groups[1:]...)
}
