// Package atc reads the language of Kong's expression routes, as atc-router 1.6.2 does for
// Kong 3.9.1: what it accepts, how it binds, what it says of what it refuses.
//
// It knows syntax and types of fields; it does not know requests. Enter at Parse.
package atc

import (
	"net/netip"
	"regexp"
)

// Logic is how an Expression is made up.
type Logic uint8

// The kinds of expressions.
const (
	Leaf Logic = iota // Predicate
	And               // Left and Right
	Or                // Left or Right
	Not               // not Left
)

// Expression is a tree of predicates. It is not changed after Parse.
type Expression struct {
	Logic     Logic
	Left      *Expression
	Right     *Expression
	Predicate *Predicate
}

// Operator compares a field with a value.
type Operator uint8

// The operators.
const (
	Equals Operator = iota
	NotEquals
	Regex
	Prefix
	Postfix
	Greater
	GreaterOrEqual
	Less
	LessOrEqual
	In
	NotIn
	Contains
)

// Predicate compares the values of a field with one of its own. It holds when all of them
// do, or with Any one of them; a field without values holds nothing.
type Predicate struct {
	Field    string
	Lower    bool // the field's values are taken in lower case
	Any      bool
	Operator Operator
	Value    Value
}

// Value is the right side of a predicate; Type says which member counts.
type Value struct {
	Type   Type
	Text   string // also of a regex
	Int    int64
	Addr   netip.Addr
	CIDR   netip.Prefix
	Regexp *regexp.Regexp
}

// Fields calls f with the field of every predicate, from left to right.
func (e *Expression) Fields(f func(name string)) {
	if e == nil {
		return
	}
	if e.Logic == Leaf {
		f(e.Predicate.Field)
		return
	}
	e.Left.Fields(f)
	e.Right.Fields(f)
}
