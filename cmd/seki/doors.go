package main

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane"
)

// door is one address for clients, as a flag says it: "0.0.0.0:9000 ssl proxy_protocol". The
// words are Kong's.
type door struct {
	addr   string
	words  []string
	secure bool // connections begin with a TLS handshake
	// announced connections begin with a PROXY protocol header.
	announced bool
}

// parseDoors reads addresses with words behind them, separated by commas; "off" is none.
func parseDoors(flagName, value string, allowed ...string) ([]door, error) {
	var doors []door
	if value == "off" || value == "" {
		return nil, nil
	}
	for entry := range strings.SplitSeq(value, ",") {
		words := strings.Fields(entry)
		if len(words) == 0 {
			return nil, fmt.Errorf("--%s %q: an address is empty", flagName, value)
		}
		d := door{addr: words[0], words: words[1:]}
		for _, w := range d.words {
			if !slices.Contains(allowed, w) {
				return nil, fmt.Errorf("--%s %q: expected %s behind an address, got %q", flagName, value, strings.Join(allowed, " or "), w)
			}
			d.secure = d.secure || w == "ssl"
			d.announced = d.announced || w == "proxy_protocol"
		}
		doors = append(doors, d)
	}
	return doors, nil
}

// proxyDoor opens the one address of a kind that HTTP is served at.
func (p *process) proxyDoor(o *dataplane.Options, name, scheme, flagName, value string) (net.Listener, error) {
	doors, err := parseDoors(flagName, value, "proxy_protocol")
	if err != nil || len(doors) == 0 {
		return nil, err
	}
	if len(doors) > 1 {
		return nil, fmt.Errorf("--%s %q: only one address is served", flagName, value)
	}
	return p.openDoor(o, doors[0], name, scheme, flagName)
}

func (p *process) openDoor(o *dataplane.Options, d door, name, scheme, flagName string) (net.Listener, error) {
	l, err := p.open(name, scheme, flagName, d.addr)
	if err == nil && l != nil && d.announced {
		o.Announced = append(o.Announced, l)
	}
	return l, err
}

// streamDoors opens the addresses for connections that carry no HTTP.
func (p *process) streamDoors(o *dataplane.Options, value string) error {
	doors, err := parseDoors("stream-listen", value, "ssl", "proxy_protocol")
	if err != nil {
		return err
	}
	for _, d := range doors {
		name, scheme, to := "stream", "tcp", &o.Streams
		if d.secure {
			name, scheme, to = "stream TLS", "tls", &o.StreamsTLS
		}
		l, err := p.openDoor(o, d, name, scheme, "stream-listen")
		if err != nil {
			return err
		}
		*to = append(*to, l)
	}
	return nil
}
