//lint:file-ignore ST1005 these are atc-router's words, which clients see

package atc

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// Type is the type of a field or value.
type Type uint8

// The types.
const (
	String Type = iota + 1
	Int
	Address
	Network
	Pattern
)

// Fields are the types of the fields that an expression may name; a name that ends in ".*"
// stands for any one word in that place.
type Fields map[string]Type

// The fields of the two families of routes.
var (
	HTTPFields = Fields{
		"net.protocol": String, "tls.sni": String, "http.method": String, "http.host": String, "http.path": String,
		"http.path.segments.*": String, "http.headers.*": String, "http.queries.*": String,
		"net.src.port": Int, "net.dst.port": Int, "http.path.segments.len": Int,
		"net.src.ip": Address, "net.dst.ip": Address,
	}
	StreamFields = Fields{
		"net.protocol": String, "tls.sni": String,
		"net.src.port": Int, "net.dst.port": Int,
		"net.src.ip": Address, "net.dst.ip": Address,
	}
)

// Type is that of a field, 0 for one that is not there.
func (f Fields) Type(name string) Type {
	if t := f[name]; t != 0 {
		return t
	}
	return f[name[:strings.LastIndexByte(name, '.')+1]+"*"]
}

// netPort finds the old name of net.dst.port, as Kong does: only before an operator of signs.
var netPort = regexp.MustCompile(`(net\.port)(\s*)([=><!])`)

// Compile reads and checks an expression as Kong 3.9.1 does for a route: with the old names
// of fields, and by the types of fields.
func Compile(text string, fields Fields) (*Expression, error) {
	e, err := Parse(netPort.ReplaceAllString(text, "net.dst.port$2$3"))
	if err != nil {
		return nil, err
	}
	return e, e.Check(fields)
}

// Check holds every predicate against the types of its field and value.
func (e *Expression) Check(fields Fields) error {
	if e.Logic == Leaf {
		return e.Predicate.check(fields)
	}
	if err := e.Left.Check(fields); err != nil {
		return err
	}
	if e.Logic == Not {
		return nil
	}
	return e.Right.Check(fields)
}

func (p *Predicate) check(fields Fields) error {
	t := fields.Type(p.Field)
	op := p.Operator
	switch {
	case t == 0:
		return errors.New("Unknown LHS field")
	case op != Regex && op != In && op != NotIn && t != p.Value.Type:
		return errors.New("Type mismatch between the LHS and RHS values of predicate")
	case p.Lower && t != String:
		return errors.New("lower-case transformation function only supported with String type fields")
	}
	switch op {
	case Regex:
		if t != String {
			return errors.New("Regex operators only supports string operands")
		}
	case Prefix, Postfix:
		if t != String {
			return errors.New("Regex/Prefix/Postfix operators only supports string operands")
		}
	case Greater, GreaterOrEqual, Less, LessOrEqual:
		if t != Int {
			return errors.New("Greater/GreaterOrEqual/Lesser/LesserOrEqual operators only supports integer operands")
		}
	case In, NotIn:
		if t != Address || p.Value.Type != Network {
			return errors.New("In/NotIn operators only supports IP in CIDR")
		}
	case Contains:
		if t != String {
			return errors.New("Contains operator only supports string operands")
		}
	}
	return checkSegments(p.Field)
}

const segmentsPrefix = "http.path.segments."

// Segments reads a range of segments of a path: "http.path.segments.1_3" is 1 to 3.
func Segments(field string) (from, to int, ok bool) {
	text, ok := strings.CutPrefix(field, segmentsPrefix)
	if !ok {
		return 0, 0, false
	}
	first, last, ranged := strings.Cut(text, "_")
	from, ok = position(first, "0")
	if !ok || !ranged {
		return from, from, ok
	}
	to, ok = position(last, "")
	return from, to, ok && from < to
}

// position reads a number without leading zeros; zero is allowed where it is named.
func position(s, zero string) (int, bool) {
	if s == "" || s[0] == '0' && s != zero || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func checkSegments(field string) error {
	if !strings.HasPrefix(field, segmentsPrefix) || field == segmentsPrefix+"len" {
		return nil
	}
	if _, _, ok := Segments(field); !ok {
		return errors.New("illformed http.path.segments.* field")
	}
	return nil
}
