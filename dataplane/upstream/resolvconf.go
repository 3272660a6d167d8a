package upstream

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// resolvConf is what this machine says of its name servers.
type resolvConf struct {
	servers  []string
	search   []string
	ndots    int
	attempts int
	timeout  time.Duration
}

// maxServers is as many as the C library looks at.
const maxServers = 3

// readResolvConf reads a resolv.conf; one that is not there names the server on this machine,
// as everywhere.
func readResolvConf(file string) *resolvConf {
	c := &resolvConf{ndots: 1, attempts: 2, timeout: 5 * time.Second}
	text, _ := os.ReadFile(file)
	for line := range strings.SplitSeq(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if _, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, net.JoinHostPort(words[1], "53"))
			}
		case "domain", "search":
			c.search = words[1:]
		case "options":
			c.options(words[1:])
		}
	}
	if len(c.servers) == 0 {
		c.servers = []string{"127.0.0.1:53"}
	}
	return c
}

func (c *resolvConf) options(words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, ":")
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			continue
		}
		switch name {
		case "ndots":
			c.ndots = min(n, 15)
		case "timeout":
			c.timeout = time.Duration(min(max(n, 1), 30)) * time.Second
		case "attempts":
			c.attempts = min(max(n, 1), 5)
		}
	}
}

// names are those that a host is looked up as, in order: as it is, and below each domain of
// the search list.
func (c *resolvConf) names(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	own := host + "."
	var names []string
	for _, d := range c.search {
		names = append(names, own+strings.Trim(d, ".")+".")
	}
	if strings.Count(host, ".") >= c.ndots {
		return append([]string{own}, names...)
	}
	return append(names, own)
}

// readHosts returns the addresses that a hosts file has for a name: IPv4 where there are some.
func readHosts(file, host string) (places []Place) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	host = strings.TrimSuffix(host, ".")
	var six []Place
	for line := range strings.SplitSeq(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			switch {
			case !strings.EqualFold(name, host):
			case addr.Unmap().Is4():
				places = append(places, Place{Addr: addr.Unmap()})
			default:
				six = append(six, Place{Addr: addr})
			}
		}
	}
	if len(places) > 0 {
		return places
	}
	return six
}
