package router

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
)

const (
	plainHostBit   = 1 << 60
	regexBit       = 1 << 51
	lengthMask     = 0x7FFFF
	maxHeaderCount = 255
)

// priority is the number by which Kong 3.9.1 orders routes, as it is executed: three of its
// terms are Lua numbers, whose shifts work on 32 bits with the count taken modulo 32.
// paths are those of one sub-route: all regexes, or all plain and of one length.
func priority(r *Route, paths []string) uint64 {
	p := shift32(int64(categories(r, paths)), 61)
	p |= shift32(int64(min(len(r.Headers), maxHeaderCount)), 52)
	if len(r.Hosts) > 0 && plainHosts(r.Hosts) {
		p |= plainHostBit
	}
	if len(paths) == 0 {
		return p
	}
	if isRegex(paths[0]) {
		return p | regexBit | shift32(r.RegexPriority, 19)
	}
	return p | uint64(len(paths[0])&lengthMask)
}

func categories(r *Route, paths []string) int {
	n := 0
	for _, used := range []bool{
		len(r.Methods) > 0, len(r.Hosts) > 0, len(r.Headers) > 0, len(r.SNIs) > 0, len(paths) > 0,
		len(r.Sources) > 0, len(r.Destinations) > 0,
	} {
		if used {
			n++
		}
	}
	return n
}

func plainHosts(hosts []string) bool {
	for _, h := range hosts {
		if strings.Contains(h, "*") {
			return false
		}
	}
	return true
}

// shift32 is LuaJIT's bit.lshift of a number, converted to an unsigned 64-bit one. A
// negative result does not keep its lower bits there: only the top one is left. So a route
// with four or more categories, or a regex_priority that is negative or has bit 12, goes
// before all others.
func shift32(v int64, by uint) uint64 {
	s := int32(uint32(v) << (by % 32))
	if s < 0 {
		return 1 << 63
	}
	return uint64(s)
}

func isRegex(path string) bool { return strings.HasPrefix(path, "~") }

// subroute is what Kong makes of a route with several paths: the regexes together, and the
// plain ones by their length.
type subroute struct {
	rank  string // decides between equal priorities: the larger one wins
	paths []string
}

func split(r *Route) []subroute {
	id := strings.ToLower(r.ID)
	if len(r.Paths) <= 1 {
		return []subroute{{rank: id, paths: r.Paths}}
	}
	var subs []subroute
	at := map[string]int{}
	for _, path := range r.Paths {
		group := "true" // Kong's name for the group of regexes is what its test returns
		if !isRegex(path) {
			group = strconv.Itoa(len(path))
		}
		i, ok := at[group]
		if !ok {
			i = len(subs)
			at[group] = i
			subs = append(subs, subroute{rank: uuid5(id + "#" + group)})
		}
		subs[i].paths = append(subs[i].paths, path)
	}
	return subs
}

// splitNamespace is the namespace of the ids that Kong gives to split routes.
var splitNamespace = [16]byte{
	0x7f, 0x14, 0x5b, 0xf9, 0x0d, 0xce, 0x4f, 0x91, 0x98, 0xeb, 0xde, 0xbb, 0xce, 0x4b, 0x9f, 0x6b,
}

// uuid5 is the version 5 UUID of a name in splitNamespace. SHA-1 is part of that version's
// definition; nothing here rests on its strength.
func uuid5(name string) string {
	h := sha1.New()
	h.Write(splitNamespace[:])
	h.Write([]byte(name))
	var id [16]byte
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
