package expression

import (
	"fmt"
	"strings"
)

// longest bounds what one function makes of a text.
const longest = 1 << 16

// textFunctions are the methods of texts that need no patterns.
var textFunctions = map[string]Value{
	"len":     ofText(func(s string, _ []Value) (Value, error) { return OfNumber(float64(len(s))), nil }),
	"lower":   ofText(func(s string, _ []Value) (Value, error) { return Of(strings.ToLower(s)), nil }),
	"upper":   ofText(func(s string, _ []Value) (Value, error) { return Of(strings.ToUpper(s)), nil }),
	"reverse": ofText(reverse),
	"rep":     ofText(repeat),
	"sub":     ofText(cut),
}

// Library is the part of Lua's library that there is, by name.
var Library = map[string]Value{
	"string": OfTable(functions(textFunctions)),
	"type":   TypeOf,
	"tostring": OfFunc(func(args []Value) (Value, error) {
		if len(args) == 0 {
			return Value{}, fmt.Errorf("bad argument #1 to 'tostring' (value expected)")
		}
		return Of(args[0].String()), nil
	}),
	"tonumber": OfFunc(func(args []Value) (Value, error) {
		if len(args) == 0 {
			return Value{}, fmt.Errorf("bad argument #1 to 'tonumber' (value expected)")
		}
		if n, ok := args[0].number(); ok {
			return OfNumber(n), nil
		}
		return Value{}, nil
	}),
}

type functions map[string]Value

func (f functions) Index(key Value) Value { return f[key.String()] }

// TypeOf is Lua's type().
var TypeOf = OfFunc(func(args []Value) (Value, error) {
	if len(args) == 0 {
		return Value{}, fmt.Errorf("bad argument #1 to 'type' (value expected)")
	}
	return Of(kinds[args[0].kind]), nil
})

func ofText(f func(s string, args []Value) (Value, error)) Value {
	return OfFunc(func(args []Value) (Value, error) {
		if len(args) == 0 || args[0].kind != String && args[0].kind != Number {
			return Value{}, fmt.Errorf("bad argument #1 (string expected)")
		}
		return f(args[0].String(), args[1:])
	})
}

func reverse(s string, _ []Value) (Value, error) {
	b := make([]byte, len(s))
	for i := range len(s) {
		b[len(s)-1-i] = s[i]
	}
	return Of(string(b)), nil
}

func repeat(s string, args []Value) (Value, error) {
	n, err := whole(args, 0, 0)
	if err != nil {
		return Value{}, err
	}
	if n > 0 && len(s)*min(n, longest+1) > longest {
		return Value{}, fmt.Errorf("resulting string too large")
	}
	return Of(strings.Repeat(s, max(n, 0))), nil
}

// cut is Lua's sub: from 1 on, both ends included, negative ones from the end.
func cut(s string, args []Value) (Value, error) {
	from, err := whole(args, 0, 1)
	if err != nil {
		return Value{}, err
	}
	to, err := whole(args, 1, -1)
	if err != nil {
		return Value{}, err
	}
	if from < 0 {
		from = max(len(s)+from+1, 1)
	}
	if to < 0 {
		to += len(s) + 1
	}
	from, to = max(from, 1), min(to, len(s))
	if from > to {
		return Of(""), nil
	}
	return Of(s[from-1 : to]), nil
}

func whole(args []Value, i, other int) (int, error) {
	if i >= len(args) || args[i].kind == Nil {
		return other, nil
	}
	n, ok := args[i].number()
	if !ok {
		return 0, fmt.Errorf("bad argument #%d (number expected, got %s)", i+2, kinds[args[i].kind])
	}
	return int(min(max(n, -1<<30), 1<<30)), nil
}
