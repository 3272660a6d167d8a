package h1

import (
	"unsafe"

	"github.com/sekifuda/sekifuda/plugin"
)

// AppendLine appends the line of a field: as it came, where nobody has changed it.
func AppendLine(dst []byte, f *plugin.Field) []byte {
	if line, ok := f.Wire(); ok {
		return append(append(dst, line...), "\r\n"...)
	}
	return AppendField(dst, f.Name, f.Value)
}

// AppendField appends one field line. A value from elsewhere than the wire may hold a control
// byte, which would begin a line of its own: each is written as a space. A name that is no
// token is left out.
func AppendField(dst []byte, name, value string) []byte {
	if !ValidName(name) {
		return dst
	}
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = AppendValue(dst, value)
	return append(dst, "\r\n"...)
}

// AppendValue appends a field value, control bytes as spaces.
func AppendValue(dst []byte, value string) []byte {
	if clean(unsafe.Slice(unsafe.StringData(value), len(value))) {
		return append(dst, value...)
	}
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c < 0x20 && c != '\t' || c == 0x7f {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}
