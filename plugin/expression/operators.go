package expression

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func (n equal) eval(env Env) (Value, error) {
	l, r, err := both(env, n.left, n.right)
	if err != nil {
		return Value{}, err
	}
	same := l.kind == r.kind && l.on == r.on && l.num == r.num && l.str == r.str && l.kind < Tab
	return OfBool(same != n.negate), nil
}

func (n concat) eval(env Env) (Value, error) {
	l, r, err := both(env, n.left, n.right)
	if err != nil {
		return Value{}, err
	}
	for _, v := range [...]Value{l, r} {
		if v.kind != String && v.kind != Number {
			return Value{}, fmt.Errorf("attempt to concatenate a %s value", kinds[v.kind])
		}
	}
	return Of(l.String() + r.String()), nil
}

func both(env Env, left, right node) (l, r Value, err error) {
	if l, err = left.eval(env); err != nil {
		return
	}
	r, err = right.eval(env)
	return
}

// eval orders two numbers or two texts; nothing else has an order.
func (n less) eval(env Env) (Value, error) {
	l, r, err := both(env, n.left, n.right)
	if err != nil {
		return Value{}, err
	}
	var order int
	switch {
	case l.kind == Number && r.kind == Number:
		if l.num != l.num || r.num != r.num {
			return OfBool(false), nil
		}
		order = compare(l.num, r.num)
	case l.kind == String && r.kind == String:
		order = strings.Compare(l.str, r.str)
	case l.kind == r.kind:
		return Value{}, fmt.Errorf("attempt to compare two %s values", kinds[l.kind])
	default:
		return Value{}, fmt.Errorf("attempt to compare %s with %s", kinds[l.kind], kinds[r.kind])
	}
	return OfBool(order < 0 || n.orEqual && order == 0), nil
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// eval takes texts that are numbers for numbers, as Lua does.
func (n arithmetic) eval(env Env) (Value, error) {
	l, r, err := both(env, n.left, n.right)
	if err != nil {
		return Value{}, err
	}
	a, okA := l.number()
	b, okB := r.number()
	switch {
	case !okA:
		return Value{}, fmt.Errorf("attempt to perform arithmetic on a %s value", kinds[l.kind])
	case !okB:
		return Value{}, fmt.Errorf("attempt to perform arithmetic on a %s value", kinds[r.kind])
	}
	switch n.operator {
	case '+':
		a += b
	case '-':
		a -= b
	case '*':
		a *= b
	case '/':
		a /= b
	case '%':
		a -= math.Floor(a/b) * b
	}
	return OfNumber(a), nil
}

// number reads a number, or a text that is one in decimal or hexadecimal.
func (v Value) number() (float64, bool) {
	if v.kind == Number {
		return v.num, true
	}
	text := strings.ToLower(strings.TrimSpace(v.str))
	if v.kind != String || strings.ContainsAny(text, "_pn") {
		return 0, false
	}
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 64)
		return float64(n), err == nil
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// eval counts the bytes of a text or the items of a list.
func (n count) eval(env Env) (Value, error) {
	v, err := n.of.eval(env)
	if err != nil {
		return Value{}, err
	}
	if v.kind == String {
		return OfNumber(float64(len(v.str))), nil
	}
	if l, ok := v.table.(interface{ Len() int }); ok {
		return OfNumber(float64(l.Len())), nil
	}
	if v.kind == Tab {
		return OfNumber(0), nil
	}
	return Value{}, fmt.Errorf("attempt to get length of a %s value", kinds[v.kind])
}
