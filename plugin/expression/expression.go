// Package expression evaluates the small part of Lua that Kong's configurations use in
// templates and log fields: names, indexes, calls, methods of strings, literals,
// arithmetic, comparisons, and, or, not, "#" and "..".
//
// It knows syntax and values; what a name stands for, its caller says. It has no loops, no
// assignments and no library, so an expression ends and reaches nothing it was not given. It
// is no plugin. Enter at Compile.
package expression

import (
	"fmt"
	"math"
	"strconv"
)

// Env gives names their values. A name it does not know is nil.
type Env interface {
	Name(name string) Value
}

// Table is a value with fields.
type Table interface {
	// Index returns the field of key, or nil.
	Index(key Value) Value
}

// Func is a value that can be called.
type Func func(args []Value) (Value, error)

// Kind is what a value is.
type Kind uint8

// The kinds.
const (
	Nil Kind = iota
	Bool
	Number
	String
	Tab
	Function
)

var kinds = [...]string{"nil", "boolean", "number", "string", "table", "function"}

// Value is a Lua value. The zero value is nil.
type Value struct {
	kind  Kind
	on    bool
	num   float64
	str   string
	table Table
	call  Func
}

// Of returns a string's value.
func Of(s string) Value { return Value{kind: String, str: s} }

// OfNumber returns a number's value.
func OfNumber(n float64) Value { return Value{kind: Number, num: n} }

// OfBool returns a boolean's value.
func OfBool(b bool) Value { return Value{kind: Bool, on: b} }

// OfTable returns a table's value.
func OfTable(t Table) Value { return Value{kind: Tab, table: t} }

// OfFunc returns a function's value.
func OfFunc(f Func) Value { return Value{kind: Function, call: f} }

// Kind returns what the value is.
func (v Value) Kind() Kind { return v.kind }

// True reports whether the value counts as true: all but nil and false do.
func (v Value) True() bool { return v.kind != Nil && (v.kind != Bool || v.on) }

// Number returns a number's value; 0 for other kinds.
func (v Value) Number() float64 { return v.num }

// String returns the value as Lua's tostring has it.
func (v Value) String() string {
	switch v.kind {
	case Nil:
		return "nil"
	case Bool:
		return strconv.FormatBool(v.on)
	case Number:
		return formatNumber(v.num)
	case String:
		return v.str
	case Tab:
		// Kong shows the address here. Ours is always the same: it tells nobody anything.
		return "table: 0x7f0000000000"
	}
	return "function: 0x7f0000000000"
}

// formatNumber prints as Lua 5.1 does, with at most 14 digits.
func formatNumber(n float64) string {
	if n == math.Trunc(n) && math.Abs(n) < 1e14 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatFloat(n, 'g', 14, 64)
}

// Expr is a compiled expression. It is immutable.
type Expr struct {
	root node
}

// Eval evaluates the expression. The error is Lua's, as in "attempt to index a nil value".
func (e *Expr) Eval(env Env) (Value, error) { return e.root.eval(env) }

type node interface {
	eval(env Env) (Value, error)
}

type (
	literal struct{ value Value }
	name    struct{ name string }
	index   struct{ of, key node }
	call    struct {
		of   node
		args []node
	}
	not   struct{ of node }
	and   struct{ left, right node }
	or    struct{ left, right node }
	equal struct {
		left, right node
		negate      bool
	}
	less struct {
		left, right node
		orEqual     bool
	}
	concat     struct{ left, right node }
	arithmetic struct {
		left, right node
		operator    byte
	}
	count struct{ of node }
)

func (n literal) eval(Env) (Value, error) { return n.value, nil }

func (n name) eval(env Env) (Value, error) { return env.Name(n.name), nil }

func (n index) eval(env Env) (Value, error) {
	of, err := n.of.eval(env)
	if err != nil {
		return Value{}, err
	}
	key, err := n.key.eval(env)
	if err != nil {
		return Value{}, err
	}
	switch of.kind {
	case Tab:
		return of.table.Index(key), nil
	case String:
		return textFunctions[key.String()], nil
	}
	return Value{}, fmt.Errorf("attempt to index a %s value", kinds[of.kind])
}

func (n call) eval(env Env) (Value, error) {
	of, err := n.of.eval(env)
	if err != nil {
		return Value{}, err
	}
	args := make([]Value, len(n.args))
	for i, a := range n.args {
		if args[i], err = a.eval(env); err != nil {
			return Value{}, err
		}
	}
	if of.kind != Function {
		return Value{}, fmt.Errorf("attempt to call a %s value", kinds[of.kind])
	}
	return of.call(args)
}

func (n not) eval(env Env) (Value, error) {
	v, err := n.of.eval(env)
	return OfBool(!v.True()), err
}

func (n and) eval(env Env) (Value, error) {
	if v, err := n.left.eval(env); err != nil || !v.True() {
		return v, err
	}
	return n.right.eval(env)
}

func (n or) eval(env Env) (Value, error) {
	if v, err := n.left.eval(env); err != nil || v.True() {
		return v, err
	}
	return n.right.eval(env)
}
