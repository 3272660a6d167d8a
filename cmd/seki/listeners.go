package main

import (
	"net"
	"strconv"
	"strings"
)

// addListeners adds what is listened on to Kong's "configuration", whose lists are read by
// clients that look for the proxy.
func (n *node) addListeners(conf map[string]any) {
	var plain, secure, stream string
	if n.proxies != nil {
		plain, secure, stream = n.proxies.proxyListen, n.proxies.proxyTLSListen, n.proxies.streamListen
	}
	conf["proxy_listeners"] = append(listeners(plain, httpFlags), listeners(secure, httpFlags, "ssl", "http2")...)
	conf["stream_listeners"] = listeners(stream, streamFlags)
	conf["admin_listeners"] = listeners(n.settings.adminListen, httpFlags)
	conf["status_listeners"] = listeners(n.status, httpFlags)
}

// commonFlags, httpFlags and streamFlags are the words that Kong 3.9.1 tells of a listener,
// each true or false.
var (
	commonFlags = []string{
		"ssl", "proxy_protocol", "bind", "reuseport", "backlog=%d+", "ipv6only=on", "ipv6only=off",
		"so_keepalive=on", "so_keepalive=off", "so_keepalive=%w*:%w*:%d*",
	}
	httpFlags   = append([]string{"http2", "deferred"}, commonFlags...)
	streamFlags = append([]string{"udp"}, commonFlags...)
)

// listeners are addresses in Kong's words; more are words that hold for all of them. What is
// no list of addresses has none: who opened them has said so.
func listeners(value string, flags []string, more ...string) []any {
	list := []any{}
	doors, _ := parseDoors("", value, commonFlags...)
	for _, d := range doors {
		host, text, err := net.SplitHostPort(d.addr)
		port, bad := strconv.Atoi(text)
		if err != nil || bad != nil {
			continue
		}
		words := append(d.words, more...)
		l := map[string]any{"ip": host, "port": port}
		shown := []string{d.addr}
		for _, f := range flags {
			l[f] = false
		}
		for _, w := range words {
			l[w] = true
			if w != "http2" { // Kong 3.9.1 leaves it out, as nginx no longer has it
				shown = append(shown, w)
			}
		}
		l["listener"] = strings.Join(shown, " ")
		list = append(list, l)
	}
	return list
}
