package basicauth

import (
	"encoding/base64"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// parse reads "Basic <base64 of name:password>". A name has no colon and is not empty; a
// password may be. The texts are valid as long as the exchange.
func parse(x *plugin.Exchange, header string) (name, password string, ok bool) {
	var room [256]byte
	encoded, ok := credentials(header)
	if !ok {
		return "", "", false
	}
	plain := room[:0]
	if n := base64.RawStdEncoding.DecodedLen(len(encoded)); n > len(room) {
		plain = make([]byte, 0, n)
	}
	plain, err := base64.RawStdEncoding.AppendDecode(plain, []byte(encoded))
	if err != nil {
		return "", "", false
	}
	// Colons before the name are passed over, as by the expression that Kong 3.9.1 uses.
	name, password, ok = strings.Cut(strings.TrimLeft(x.Text(plain), ":"), ":")
	return name, password, ok && name != ""
}

// credentials cuts the scheme off. It may be written basic, and what stands before it is
// passed over; the rest has its padding removed.
func credentials(header string) (encoded string, ok bool) {
	for rest := header; ; {
		i := strings.Index(rest, "asic")
		if i < 0 {
			return "", false
		}
		before, after := rest[:i], rest[i+len("asic"):]
		if strings.HasSuffix(before, "B") || strings.HasSuffix(before, "b") {
			encoded = strings.TrimRight(strings.TrimLeft(after, " \t"), "=")
			return encoded, encoded != "" && !strings.ContainsAny(encoded, "\r\n")
		}
		rest = after
	}
}
