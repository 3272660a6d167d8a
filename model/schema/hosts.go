package schema

import (
	"net/netip"
	"strconv"
	"strings"
)

// Address is a host as a client wrote it, taken apart.
type Address struct {
	Host string // name, IPv4, or IPv6 with all its digits and without brackets
	Port int    // 0 when none was written
	IP   bool
}

// hostKind is Kong's guess of what a text is, made before it is checked.
type hostKind int

const (
	hostName hostKind = iota
	hostV4
	hostV6
)

func guessHost(s string) hostKind {
	if strings.Count(s, ":") > 1 {
		return hostV6
	}
	digits := strings.ReplaceAll(s, ":", "")
	if digits != "" && strings.Trim(digits, "0123456789.") == "" {
		return hostV4
	}
	return hostName
}

// ParseAddress reads "name", "name:port", "1.2.3.4", "1.2.3.4:port", "::1" or "[::1]:port".
// badPort tells that only the port is wrong.
func ParseAddress(s string) (a Address, ok, badPort bool) {
	switch guessHost(s) {
	case hostV6:
		return parseV6(s)
	case hostV4:
		host, port, ok, badPort := cutPort(s)
		if !ok {
			return Address{}, false, badPort
		}
		ip, err := netip.ParseAddr(lenientV4(host))
		if err != nil {
			return Address{}, false, false
		}
		return Address{Host: ip.String(), Port: port, IP: true}, true, false
	}
	host, port, ok, badPort := cutPort(s)
	if !ok || !validName(host) {
		return Address{}, false, badPort
	}
	return Address{Host: host, Port: port}, true, false
}

// lenientV4 drops leading zeroes, which Kong takes for decimal.
func lenientV4(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		if t := strings.TrimLeft(p, "0"); t != "" && len(p) <= 3 {
			parts[i] = t
		} else if p != "" && len(p) <= 3 {
			parts[i] = "0"
		}
	}
	return strings.Join(parts, ".")
}

func cutPort(s string) (host string, port int, ok, badPort bool) {
	host, text, found := strings.Cut(s, ":")
	if !found {
		return s, 0, true, false
	}
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return "", 0, false, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > 65535 {
		return "", 0, false, true
	}
	return host, n, true, false
}

func parseV6(s string) (a Address, ok, badPort bool) {
	port := 0
	if strings.HasPrefix(s, "[") {
		inside, rest, found := strings.Cut(s[1:], "]")
		if !found {
			return Address{}, false, false
		}
		if rest != "" {
			_, n, ok, bad := cutPort(rest)
			if !ok || rest[0] != ':' {
				return Address{}, false, bad
			}
			port = n
		}
		s = inside
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return Address{}, false, false
	}
	return Address{Host: ip.StringExpanded(), Port: port, IP: true}, true, false
}

// validName checks a host's labels: letters, digits, "-" and "_", no "-" at their ends. One
// dot may end the name.
func validName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// CheckHost wants a name or an address without a port.
func CheckHost(s string) string {
	a, ok, badPort := ParseAddress(s)
	if badPort || ok && a.Port != 0 {
		return "must not have a port"
	}
	if !ok {
		return "invalid value: " + s
	}
	return ""
}

// CheckHostPort wants a name or an address, with a port or without.
func CheckHostPort(s string) string {
	_, ok, badPort := ParseAddress(s)
	if badPort {
		return "invalid port number"
	}
	if !ok {
		return "invalid value: " + s
	}
	return ""
}

// CheckSNI wants a name.
func CheckSNI(s string) string {
	a, ok, badPort := ParseAddress(s)
	switch {
	case ok && a.IP:
		return "must not be an IP"
	case badPort || ok && a.Port != 0:
		return "must not have a port"
	case !ok:
		return "invalid value: " + s
	}
	return ""
}

// CheckWildcardHost wants a name that may begin or end with one "*"; "*" alone is every name.
func CheckWildcardHost(s string) string {
	i := strings.IndexByte(s, '*')
	switch {
	case i > 0 && i < len(s)-1:
		return "wildcard must be leftmost or rightmost character"
	case strings.Count(s, "*") > 1:
		return "only one wildcard must be specified"
	}
	return CheckSNI(strings.Replace(s, "*", "wildcard", 1))
}

func checkRange(s string) string {
	host, bits, isRange := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(host)
	ok := err == nil && ip.Zone() == ""
	if isRange && ok {
		n, err := strconv.Atoi(bits)
		ok = err == nil && n >= 0 && n <= ip.BitLen() && strings.Trim(bits, "0123456789") == ""
	}
	if !ok {
		return "invalid ip or cidr range: '" + s + "'"
	}
	return ""
}

// Bracketed returns the host as it stands before ":port".
func (a Address) Bracketed() string {
	if a.IP && strings.Contains(a.Host, ":") {
		return "[" + a.Host + "]"
	}
	return a.Host
}
