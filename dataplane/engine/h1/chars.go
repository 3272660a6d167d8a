package h1

import (
	"encoding/binary"
	"math/bits"
)

var (
	tokenChar  [256]bool // RFC 9110 5.6.2
	targetChar [256]bool // what may stand in a request target
	hostChar   [256]bool // RFC 3986 3.2.2, without brackets and colon
)

func init() {
	for c := '0'; c <= 'z'; c++ {
		if c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c {
			tokenChar[c], hostChar[c] = true, true
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		tokenChar[c] = true
	}
	for _, c := range "-._~!$&'()*+,;=%" {
		hostChar[c] = true
	}
	// Bytes above 0x7f are no part of a URI, but clients send them and Kong passes them.
	for c := 0x21; c < 0x100; c++ {
		targetChar[c] = c != 0x7f && c != '#'
	}
}

// ValidName reports whether s is a token, as field names are.
func ValidName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

// clean reports whether b has no control byte except HTAB.
func clean(b []byte) bool { return control(b) == len(b) }

// control returns the index of the first control byte of b except HTAB, or its length. It looks
// at eight bytes at a time.
func control(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for i+8 <= len(b) {
		v := binary.LittleEndian.Uint64(b[i:])
		below := (v - ones*0x20) &^ v & highs
		del := v ^ ones*0x7f
		del = (del - ones) &^ del & highs
		// The lowest mark is right; those above it may come of its borrow.
		marks := below | del
		if marks == 0 {
			i += 8
			continue
		}
		if i += bits.TrailingZeros64(marks) / 8; b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && (b[i] >= 0x20 && b[i] != 0x7f || b[i] == '\t') {
		i++
	}
	return i
}
