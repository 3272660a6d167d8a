package logentry

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	return append(appendText(append(b, '"'), s), '"')
}

// appendText appends s as the inside of a JSON string. Bytes that are no UTF-8 become the
// replacement character, so that an entry is always JSON.
func appendText(b []byte, s string) []byte {
	from := 0
	for i := plainLen(s); i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = appendEscape(append(b, s[from:i]...), c)
		i++
		from = i
	}
	return append(b, s[from:]...)
}

// plainLen returns the length of a beginning of s that stands for itself: all of it but the
// last word, for most strings. It looks at eight bytes at a time.
func plainLen(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		quote, slash, del := v^ones*'"', v^ones*'\\', v^ones*0x7f
		// A high bit for a byte below 0x20, for one of the three, and for one above 0x7f; a
		// borrow may set one too many, which only ends the run early.
		odd := (v - ones*0x20) | (quote - ones) | (slash - ones) | (del - ones) | v
		if odd&highs != 0 {
			break
		}
	}
	return i
}

// appendLower appends a header's name as a JSON string in lower case.
func appendLower(b []byte, name string) []byte {
	b = append(b, '"')
	at := len(b)
	for i := 0; i < len(name); i++ {
		c := lowered[name[i]]
		if c == 0 { // rare: no token has such a byte
			b = appendText(b[:at], name)
			for i := at; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			break
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// lowered are the plain bytes in lower case; 0: not plain.
var lowered = func() (t [256]byte) {
	for c := range plain {
		if !plain[c] {
			continue
		}
		t[c] = byte(c)
		if 'A' <= c && c <= 'Z' {
			t[c] |= 0x20
		}
	}
	return t
}()

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return append(b, "\ufffd"...)
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// plain are the bytes that stand for themselves.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != 0x7f
	}
	return t
}()
