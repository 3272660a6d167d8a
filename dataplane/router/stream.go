package router

import (
	"net/netip"
)

// Net is one end of a connection as a route names it.
type Net struct {
	Range netip.Prefix // the zero one: any address
	Port  int          // -1: any
}

func (n *Net) match(a netip.Addr, port uint16) bool {
	return (!n.Range.IsValid() || n.Range.Contains(a)) && (n.Port < 0 || n.Port == int(port))
}

func matchNets(list []Net, a netip.Addr, port uint16) bool {
	for i := range list {
		if list[i].match(a, port) {
			return true
		}
	}
	return len(list) == 0
}

// streamPath is where routes for connections stand in the tables: no path of HTTP begins so.
const streamPath = "\x00"

// AsStream makes q the request of a connection that carries no HTTP: its name, if it told
// one in a TLS handshake, is looked up where hosts are.
func (q *Request) AsStream() {
	q.Stream, q.Path, q.Host = true, streamPath, trimDot(q.SNI)
}

// compileStream makes the parts of a route for connections. Names bind only connections over
// TLS: on a plain one Kong does not consider them.
func (c *compiled[T]) compileStream(r *Route, t *tests, id string, value T) error {
	p := part[T]{prio: streamPriority(r), paths: []place{{key: streamPath}}}
	p.rule = &rule[T]{rank: id, tests: t, value: value}
	c.hosts = nil
	for _, s := range r.SNIs {
		k, err := parseSNI(s)
		if err != nil {
			return &RouteError{r.ID, "snis", s, err}
		}
		c.hosts = append(c.hosts, k)
	}
	c.hosts = append(distinct(c.hosts), hostKey{})
	c.parts = append(c.parts, p)
	return nil
}

// Weights of streams: a name, or both ends, before one end; an address before a port before a
// range.
const (
	streamNameBit = 1 << 61
	addressBit    = 1 << 3
	portBit       = 1 << 2
	rangeBit      = 1 << 0
)

// streamPriority is the number by which Kong 3.9.1 orders routes of streams.
func streamPriority(r *Route) uint64 {
	p := netWeight(r.Sources)<<4 | netWeight(r.Destinations)
	if len(r.SNIs) > 0 || len(r.Sources) > 0 && len(r.Destinations) > 0 {
		p |= streamNameBit
	}
	return p
}

func netWeight(list []Net) uint64 {
	var w uint64
	for _, n := range list {
		switch {
		case n.Range.IsValid() && n.Range.IsSingleIP():
			w |= addressBit
		case n.Range.IsValid():
			w |= rangeBit
		}
		if n.Port >= 0 {
			w |= portBit
		}
	}
	return w
}
