package router

import (
	"errors"
	"strconv"
	"strings"
)

// hostKind is how a host of a route is compared.
type hostKind uint8

const (
	anyHost hostKind = iota
	exactHost
	suffixHost // "*.example.com": any depth
	prefixHost // "example.*"
)

// hostKey is a host of a route: its name in lower case without the star, and its port, 0 when
// any will do.
type hostKey struct {
	kind hostKind
	name string
	port uint16
}

func (h hostKey) match(name string) bool {
	switch h.kind {
	case exactHost:
		return equalFold(h.name, name)
	case suffixHost:
		return len(name) >= len(h.name) && equalFold(h.name, name[len(name)-len(h.name):])
	case prefixHost:
		return len(name) >= len(h.name) && equalFold(h.name, name[:len(h.name)])
	}
	return true
}

// parseHost reads a host of a route. Kong compares names byte by byte; we do not regard case,
// as DNS does not.
func parseHost(text string) (hostKey, error) {
	name, port, err := splitPort(text)
	if err != nil {
		return hostKey{}, err
	}
	key, err := parseName(name)
	key.port = port
	return key, err
}

var errWildcard = errors.New("invalid wildcard: must be placed at leftmost or rightmost label")

// parseName reads a host name or SNI, which may have a star as its first or last label.
func parseName(name string) (hostKey, error) {
	name = lowerASCII(name)
	switch star := strings.IndexByte(name, '*'); {
	case name == "":
		return hostKey{}, errors.New("must not be empty")
	case star < 0:
		return hostKey{kind: exactHost, name: name}, nil
	case star == 0 && len(name) > 1 && name[1] == '.' && !strings.Contains(name[1:], "*"):
		return hostKey{kind: suffixHost, name: name[1:]}, nil
	case star > 0 && star == len(name)-1 && name[star-1] == '.':
		return hostKey{kind: prefixHost, name: name[:star]}, nil
	}
	return hostKey{}, errWildcard
}

func splitPort(text string) (string, uint16, error) {
	colon := strings.LastIndexByte(text, ':')
	switch {
	case colon < 0, strings.HasSuffix(text, "]"):
		return text, 0, nil
	case strings.IndexByte(text, ':') != colon && !strings.HasPrefix(text, "["):
		return text, 0, nil // a bare IPv6 address
	}
	port, err := strconv.ParseUint(text[colon+1:], 10, 16)
	if err != nil || port == 0 {
		return "", 0, errors.New("invalid port number")
	}
	return text[:colon], uint16(port), nil
}

// parseSNI reads an SNI of a route; Kong ignores the dot at the end of a full name.
func parseSNI(text string) (hostKey, error) { return parseName(trimDot(text)) }

func trimDot(name string) string {
	if len(name) > 1 && name[len(name)-1] == '.' {
		return name[:len(name)-1]
	}
	return name
}

// The hashes of names do not regard ASCII case, so that a request's host is looked up as it
// was sent. They go byte by byte, so that one pass gives the hashes of all prefixes, or of
// all suffixes. They need no secret: only configuration decides what is in the tables.
const (
	hashBasis = 14695981039346656037
	hashPrime = 1099511628211
)

func hashForward(s string) uint64 {
	h := uint64(hashBasis)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(lower(s[i]))) * hashPrime
	}
	return spread(h)
}

func hashBackward(s string) uint64 {
	h := uint64(hashBasis)
	for i := len(s) - 1; i >= 0; i-- {
		h = (h ^ uint64(lower(s[i]))) * hashPrime
	}
	return spread(h)
}

// spread brings the entropy of the upper half down: the tables use the low bits first.
func spread(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold reports whether name, in any ASCII case, is stored, which is lower case.
func equalFold(stored, name string) bool {
	if len(stored) != len(name) {
		return false
	}
	for i := 0; i < len(name); i++ {
		if stored[i] != name[i] && stored[i] != lower(name[i]) {
			return false
		}
	}
	return true
}
