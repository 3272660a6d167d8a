package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/dataplane/engine"
	"github.com/sekifuda/sekifuda/model"
)

// officeSettings are the control plane's.
type officeSettings struct {
	databaseURL   string
	adminListen   string
	adminOpen     bool
	adminTokens   string
	adminFiles    guard.CertificateFiles
	oidcIssuer    string
	oidcAudience  string
	oidcName      string
	oidcRole      string
	oidcRoles     string
	consoleListen string
	grpcListen    string
	feedListen    string
	feedInsecure  bool
	replicaAddr   string
	keepRefused   bool
	windowAgent   string
	windowQuiet   time.Duration
	kekFile       string
}

// gateSettings are a node's.
type gateSettings struct {
	proxyListen    string
	proxyTLSListen string
	streamListen   string
	redisURL       string
	nodeID         string
	labels         string
	group          string
	trustedIPs     string
	realIPHeader   string
	dnsResolver    string
	headers        string
	headersUp      string
	errorType      string
	debugHeader    bool
	pages          pageFiles
	certFile       string
	certKeyFile    string

	realIPRecursive bool
	portMaps        string
	headerTimeout   time.Duration
	bodyTimeout     time.Duration
	idleTimeout     time.Duration
	maxHeader       int
	maxBody         int64
	drainTimeout    time.Duration
	leaveTimeout    time.Duration
}

// commonSettings are every plane's.
type commonSettings struct {
	dataDir      string
	statusListen string
	logLevel     string
	logFormat    string
	routerFlavor string
}

func (s *commonSettings) flags(f *flags, dataDir string) {
	f.StringVar(&s.dataDir, "data-dir", dataDir, "folder for what must survive a restart")
	f.StringVar(&s.statusListen, "status-listen", "127.0.0.1:8007", "address of /status, /status/ready and /metrics")
	f.StringVar(&s.logLevel, "log-level", "notice", "debug, info, notice, warn, error, crit, alert or emerg")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.routerFlavor, "router-flavor", model.TraditionalCompatible, "language of routes: traditional_compatible or expressions; the same for all planes")
	f.configFile()
}

func (s *officeSettings) flags(f *flags, feed string) {
	f.StringVar(&s.databaseURL, "database-url", "", "PostgreSQL URL; empty: an embedded store in the data folder")
	f.StringVar(&s.adminListen, "admin-listen", "127.0.0.1:8001", "address of the Admin API (REST)")
	f.BoolVar(&s.adminOpen, "admin-open", false, "let the Admin API be reached from other machines without authentication")
	f.StringVar(&s.adminTokens, "admin-token-file", "", "who may use the Admin API, REST and gRPC, and the console: lines of NAME ROLE TOKEN, "+
		"with the role viewer, editor, releaser or admin, or editor:kinds=KIND+KIND;tags=TAG+TAG for some entities; cert:NAME for TOKEN is a client certificate with that name; read anew at SIGHUP; empty: everybody who reaches it")
	f.StringVar(&s.adminFiles.Certificate, "admin-tls-cert", "", "certificate (PEM) of the Admin API, REST and gRPC, and the console, which then speak TLS alone; read anew when it changes, and at SIGHUP")
	f.StringVar(&s.adminFiles.Key, "admin-tls-key", "", "private key (PEM) of --admin-tls-cert")
	f.StringVar(&s.adminFiles.Clients, "admin-client-ca", "", "authorities (PEM) by which client certificates are verified; who one is of, --admin-token-file says")
	f.StringVar(&s.oidcIssuer, "admin-oidc-issuer", "", "issuer of OpenID Connect whose tokens (JWT) are taken beside those of --admin-token-file")
	f.StringVar(&s.oidcAudience, "admin-oidc-audience", "", "whom such a token must be meant for")
	f.StringVar(&s.oidcName, "admin-oidc-name-claim", "email", "claim that names who asks; without it: sub")
	f.StringVar(&s.oidcRole, "admin-oidc-role-claim", "roles", "claim that has the role, or a list of them, the highest of which counts; a.b is b within a")
	f.StringVar(&s.oidcRoles, "admin-oidc-roles", "", "what values of that claim mean: VALUE=ROLE, ...; empty: they are the roles' names")
	f.StringVar(&s.consoleListen, "console-listen", "127.0.0.1:8002", "address of the web console")
	f.StringVar(&s.grpcListen, "grpc-listen", "127.0.0.1:8006", "address of the Admin API (gRPC)")
	f.StringVar(&s.feedListen, "feed-listen", feed, "address at which nodes get their configuration")
	f.BoolVar(&s.feedInsecure, "feed-insecure", false, "feed without TLS and tokens, on loopback only")
	f.StringVar(&s.replicaAddr, "replica-address", "", "where other control planes on the same database reach this one's feed, HOST:PORT; "+
		"empty: where it listens, by the way to the database when that is everywhere")
	f.BoolVar(&s.keepRefused, "keep-refused", false, "do not take back revisions that nodes refuse and nobody runs")
	f.StringVar(&s.windowAgent, "window-agent", "", "publish each run of this client as one revision: the beginning of its User-Agent, such as decK; empty: nobody's")
	f.DurationVar(&s.windowQuiet, "window-quiet", 2*time.Second, "how long a client of --window-agent must be quiet for its run to be over")
	f.StringVar(&s.kekFile, "kek-file", "", "file with the key-encryption key of secrets in the database, one a line, that in use first; "+
		"SEKI_KEK may hold it instead; empty: kept in the data folder (embedded store), or beside what it protects (PostgreSQL)")
}

func (s *gateSettings) flags(f *flags) {
	f.StringVar(&s.proxyListen, "proxy-listen", "0.0.0.0:8080", "address of the proxy (HTTP/1.1 and h2c); \"proxy_protocol\" behind it wants a PROXY header first")
	f.StringVar(&s.proxyTLSListen, "proxy-tls-listen", "0.0.0.0:8443", "address of the proxy (TLS, HTTP/1.1 and HTTP/2); \"proxy_protocol\" likewise")
	f.StringVar(&s.streamListen, "stream-listen", "off", "addresses of the proxy for routes of tcp, tls and tls_passthrough: HOST:PORT [ssl] [proxy_protocol], ...; the last two want ssl")
	f.StringVar(&s.redisURL, "redis-url", "", "Redis for shared counts; empty: counts in this process")
	f.StringVar(&s.nodeID, "node-id", "", "name of this node; empty: made once and kept in the data folder")
	f.StringVar(&s.labels, "labels", "", "labels of this node: zone=a,rack=7")
	f.StringVar(&s.group, "group", "default", "group whose target this node follows; a node's certificate wins")
	f.StringVar(&s.trustedIPs, "trusted-ips", "", "addresses of proxies that are believed, comma-separated CIDRs")
	f.StringVar(&s.headers, "headers", engine.KongHeaders, "marks on answers: header names, server_tokens, latency_tokens, or off")
	f.StringVar(&s.headersUp, "headers-upstream", engine.KongHeadersUpstream, "marks on requests: X-Kong-Request-Id, or off")
	f.StringVar(&s.errorType, "error-default-type", "text/plain", "error pages for clients that say nothing: text/plain, text/html, application/json or application/xml")
	s.pages.flags(f)
	f.StringVar(&s.certFile, "default-cert", "", "file with the certificate for server names that no other is for; empty: one that is made at the start")
	f.StringVar(&s.certKeyFile, "default-cert-key", "", "file with its key")
	f.BoolVar(&s.debugHeader, "allow-debug-header", false, "tell a request with Kong-Debug which route and service it met")
	f.StringVar(&s.dnsResolver, "dns-resolver", "", "name servers: IP[:PORT], ...; empty: those of /etc/resolv.conf")
	f.StringVar(&s.realIPHeader, "real-ip-header", "X-Real-IP", "where a proxy that is believed names the client: a header, or proxy_protocol")
	f.BoolVar(&s.realIPRecursive, "real-ip-recursive", false, "skip addresses that are believed from the end of that header")
	f.StringVar(&s.portMaps, "port-maps", "", "ports under which clients know those that are listened on: 80:8000, 443:8443")
	f.DurationVar(&s.headerTimeout, "client-header-timeout", 10*time.Second, "how long a client may take for a request's head")
	f.DurationVar(&s.bodyTimeout, "client-body-timeout", 60*time.Second, "how long a client may pause within a body")
	f.DurationVar(&s.idleTimeout, "client-idle-timeout", 75*time.Second, "how long a connection is kept without a request")
	f.IntVar(&s.maxHeader, "client-max-header-bytes", 64<<10, "bound of a request's head")
	f.Int64Var(&s.maxBody, "client-max-body-bytes", 0, "bound of a request's body; 0: none")
	f.DurationVar(&s.drainTimeout, "drain-timeout", 30*time.Second, "how long requests may take to finish after SIGTERM")
	f.DurationVar(&s.leaveTimeout, "handover-timeout", 10*time.Minute, "how long requests may take to finish after SIGUSR2, when a new process serves")
}

// asks reports whether the Admin API asks who somebody is.
func (s *officeSettings) asks() bool { return s.adminTokens != "" || s.oidcIssuer != "" }

// adminScheme is how the Admin API is reached.
func (s *officeSettings) adminScheme(plain string) string {
	if s.adminFiles.Certificate != "" {
		return plain + "s"
	}
	return plain
}

// check refuses what would open a door unasked.
func (s *officeSettings) check() error {
	for _, door := range []struct{ flag, addr string }{
		{"admin-listen", s.adminListen}, {"grpc-listen", s.grpcListen}, {"console-listen", s.consoleListen},
	} {
		if door.addr != "off" && !onLoopback(door.addr) && !s.adminOpen && !s.asks() {
			return fmt.Errorf("--%s %s can be reached from other machines and asks nobody who they are; "+
				"say who may with --admin-token-file (%s) or --admin-oidc-issuer, say --admin-open (%s) if that is meant, or listen on 127.0.0.1",
				door.flag, door.addr, variable("admin-token-file"), variable("admin-open"))
		}
	}
	if s.windowAgent != "" && s.windowQuiet <= 0 {
		return fmt.Errorf("--window-quiet %v: a run must be quiet for some time to be over", s.windowQuiet)
	}
	if s.asks() && s.adminOpen {
		return errors.New("--admin-open lets everybody in and --admin-token-file (or --admin-oidc-issuer) does not: say one of them")
	}
	switch files := s.adminFiles; {
	case (files.Certificate == "") != (files.Key == ""):
		return errors.New("--admin-tls-cert and --admin-tls-key: one is nothing without the other")
	case files.Clients != "" && files.Certificate == "":
		return errors.New("--admin-client-ca: client certificates are shown over TLS; give --admin-tls-cert and --admin-tls-key")
	case files.Clients != "" && s.adminTokens == "":
		return errors.New("--admin-client-ca: say who the certificates are of, in --admin-token-file: NAME ROLE cert:NAME")
	case s.oidcIssuer == "" && (s.oidcAudience != "" || s.oidcRoles != ""):
		return errors.New("--admin-oidc-audience and --admin-oidc-roles have no use without --admin-oidc-issuer")
	}
	if s.feedInsecure && s.feedListen != "off" && !onLoopback(s.feedListen) {
		return fmt.Errorf("--feed-insecure is for loopback only, not for --feed-listen %s", s.feedListen)
	}
	return nil
}

// parseLabels reads "zone=a,rack=7".
func parseLabels(s string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range strings.Split(s, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--labels %q: expected name=value", pair)
		}
		labels[k] = v
	}
	return labels, nil
}

// parsePrefixes reads "10.0.0.0/8,192.168.1.1".
func parsePrefixes(s string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if p, err := netip.ParsePrefix(part); err == nil {
			list = append(list, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, fmt.Errorf("--trusted-ips %q: expected an address or a CIDR", part)
		}
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return list, nil
}

// parsePortMaps reads "80:8000, 443:8443", clients' port first, and answers by the other.
func parsePortMaps(s string) (map[uint16]uint16, error) {
	maps := map[uint16]uint16{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		outer, inner, _ := strings.Cut(part, ":")
		from, err := strconv.ParseUint(inner, 10, 16)
		to, err2 := strconv.ParseUint(outer, 10, 16)
		if err != nil || err2 != nil || from == 0 || to == 0 {
			return nil, fmt.Errorf("--port-maps %q: expected two ports such as 80:8000", part)
		}
		maps[uint16(from)] = uint16(to)
	}
	return maps, nil
}

// checkErrorType refuses what error pages are not written in.
func checkErrorType(t string) error {
	switch t {
	case "text/plain", "text/html", "application/json", "application/xml":
		return nil
	}
	return fmt.Errorf("--error-default-type %q: expected text/plain, text/html, application/json or application/xml", t)
}

// parseServers reads "10.0.0.53, [fd00::53]:5353"; the port is 53 when none is said.
func parseServers(s string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		ap, err := netip.ParseAddrPort(part)
		if a, e := netip.ParseAddr(strings.Trim(part, "[]")); e == nil {
			ap, err = netip.AddrPortFrom(a, 53), nil
		}
		if err != nil || ap.Port() == 0 {
			return nil, fmt.Errorf("--dns-resolver %q: expected an address, with a port or without", part)
		}
		list = append(list, ap.String())
	}
	return list, nil
}

var errNoControlPlane = errors.New("--control-plane: a node needs the address of its control plane")
