package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrNotObject is returned for JSON that is sound but no object. Kong 3.9.1 breaks on it and
// answers 500, where everything unsound is 400.
var ErrNotObject = errors.New("decode body: not an object")

// DecodeJSON reads a request body. Bytes that are no UTF-8 stay in the texts, where
// encoding/json would hide them: validation then names the field and the position, as Kong
// does. The error is for the log; a client hears "Cannot parse JSON body".
func DecodeJSON(data []byte) (Body, error) {
	valid := utf8.Valid(data)
	if !valid {
		data = hideInvalid(data)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("decode body: %w", err)
	}
	if !valid {
		v = showInvalid(v)
	}
	b, ok := v.(Body)
	if !ok {
		return nil, ErrNotObject
	}
	return b, nil
}

// hidden is where invalid bytes wait while encoding/json reads: the last private characters,
// which nobody sends together with broken text.
const hidden = 0x10FF00

func hideInvalid(data []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(data) + len(data)/4)
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			out.WriteRune(hidden + rune(data[0]))
		} else {
			out.Write(data[:n])
		}
		data = data[n:]
	}
	return out.Bytes()
}

func showInvalid(v any) any {
	switch v := v.(type) {
	case string:
		return showText(v)
	case []any:
		for i, e := range v {
			v[i] = showInvalid(e)
		}
	case Body:
		out := make(Body, len(v))
		for k, e := range v {
			out[showText(k)] = showInvalid(e)
		}
		return out
	}
	return v
}

func showText(s string) string {
	var out []byte
	for i, r := range s {
		if r > hidden && r <= hidden+0xff && out == nil {
			out = append(make([]byte, 0, len(s)), s[:i]...)
		}
		switch {
		case out == nil:
		case r > hidden && r <= hidden+0xff:
			out = append(out, byte(r-hidden))
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}
