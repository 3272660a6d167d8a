package h1

import "encoding/binary"

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

// clean reports whether b has no control byte except HTAB. It looks at eight bytes at a time.
func clean(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		below := (v - ones*0x20) &^ v & highs
		del := v ^ ones*0x7f
		del = (del - ones) &^ del & highs
		if below|del != 0 && !cleanBytes(b[:8]) {
			return false
		}
	}
	return cleanBytes(b)
}

func cleanBytes(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
