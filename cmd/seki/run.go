package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sekifuda/sekifuda/controlplane"
	"github.com/sekifuda/sekifuda/controlplane/adminapi"
	"github.com/sekifuda/sekifuda/dataplane"
	"github.com/sekifuda/sekifuda/dataplane/engine"
	"github.com/sekifuda/sekifuda/dataplane/feed"
	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/proxycache"
)

// process is what all planes of one process share.
type process struct {
	commonSettings
	call       *call
	log        *slog.Logger
	level      *logLevel
	plugins    *plugin.Set
	schema     *schema.Schema
	opened     []address
	all        []socket
	asked      net.Listener // the status listener, which is served until the process ends
	sockets    sockets      // that were there before the process
	before     *predecessor // nil: the process takes over from nobody
	supervisor *supervisor
	hangUp     hangUp
}

// socket is a listener and what its socket goes by.
type socket struct {
	name string
	l    net.Listener
}

// address is one line of what the process prints about itself.
type address struct{ name, url string }

func (c *call) process(s commonSettings) (*process, error) {
	level, err := newLogLevel(s.logLevel)
	if err != nil {
		return nil, err
	}
	log, err := newLogger(c.err, s.logFormat, level)
	if err != nil {
		return nil, err
	}
	if err := model.CheckFlavor(s.routerFlavor); err != nil {
		return nil, fmt.Errorf("--router-flavor %s: %w", s.routerFlavor, err)
	}
	plugins, tables, err := build(s.routerFlavor)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	p := &process{commonSettings: s, call: c, log: log, level: level, plugins: plugins, schema: tables}
	if err := p.inherit(); err != nil {
		return nil, err
	}
	p.supervisor, err = supervised(c.getenv, p.before != nil)
	return p, err
}

// open opens a listener and notes its address for the screen.
func (p *process) open(name, scheme, flagName, addr string) (net.Listener, error) {
	l, err := p.sockets.take(flagName, addr)
	if err == nil && l == nil {
		l, err = listen(name, flagName, addr)
	}
	if err != nil || l == nil {
		return nil, err
	}
	p.all = append(p.all, socket{socketName(flagName, addr), l})
	p.opened = append(p.opened, address{name, scheme + "://" + reachable(l.Addr().String())})
	return l, nil
}

// reachable is an address by which this machine reaches a listener.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// close closes what was opened, when the process cannot start after all.
func (p *process) close() {
	for _, s := range p.all {
		_ = s.l.Close() // it may be served already
	}
}

// announce prints the addresses; "Ready" ends them.
func (p *process) announce(what string) {
	fmt.Fprintf(p.call.out, "Sekifuda %s: %s\n", version, what)
	for _, a := range p.opened {
		fmt.Fprintf(p.call.out, "  %-12s %s\n", a.name, a.url)
	}
	fmt.Fprintln(p.call.out, "Ready. Ctrl-C stops it; nothing that was written is lost.")
}

// runAll is both planes in one process, over the same stream as in a fleet.
func runAll(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS]")
	var common commonSettings
	var office officeSettings
	var gate gateSettings
	common.flags(f, "./.seki")
	office.flags(f, "off")
	gate.flags(f)
	f.kongConf()
	if err := parsePlane(f); err != nil {
		return err
	}
	if err := office.check(); err != nil {
		return err
	}
	p, err := c.process(common)
	if err != nil {
		return err
	}
	for key, why := range f.ignored {
		p.log.Warn("a setting of Kong's is not used", "setting", key, "reason", why)
	}
	defer p.close()
	var inside atomic.Pointer[bufconn.Listener]
	var d desk
	dp, err := p.gate(ctx, &gate, d.reachable, "passthrough:///in-process", nil, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return inside.Load().DialContext(ctx)
	}))
	if err != nil {
		return err
	}
	d.open = func() (*controlplane.ControlPlane, func(), error) {
		inside.Store(bufconn.Listen(1 << 20))
		return p.office(ctx, &office, &gate, dp, inside.Load())
	}
	if err := d.prepare(); err != nil {
		return err
	}
	defer d.close()
	if err := p.status(dp.Ready, &d, dp); err != nil {
		return err
	}
	p.announce("both planes in one process")
	return p.run(ctx, &d, dp)
}

func runControlPlane(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS]")
	var common commonSettings
	var office officeSettings
	common.flags(f, "./.seki-controlplane")
	office.flags(f, "0.0.0.0:8005")
	if err := parsePlane(f); err != nil {
		return err
	}
	if err := office.check(); err != nil {
		return err
	}
	p, err := c.process(common)
	if err != nil {
		return err
	}
	defer p.close()
	d := desk{open: func() (*controlplane.ControlPlane, func(), error) { return p.office(ctx, &office, nil, nil) }}
	if err := d.prepare(); err != nil {
		return err
	}
	defer d.close()
	if err := p.status(func() error {
		if !d.cp.Load().Ready() {
			return errors.New("no revision is published yet")
		}
		return nil
	}, &d, nil); err != nil {
		return err
	}
	p.announce("control plane")
	return p.run(ctx, &d, nil)
}

func runDataPlane(ctx context.Context, c *call) error {
	f := c.flags("--control-plane ADDRESS [--join-token TOKEN] [FLAGS]")
	var common commonSettings
	var gate gateSettings
	var join joinSettings
	common.flags(f, "./.seki-dataplane")
	gate.flags(f)
	join.flags(f)
	if err := parsePlane(f); err != nil {
		return err
	}
	if err := join.check(); err != nil {
		return err
	}
	p, err := c.process(common)
	if err != nil {
		return err
	}
	defer p.close()
	identity, err := p.join(ctx, &join, gate.nodeID)
	if err != nil {
		return err
	}
	dp, err := p.gate(ctx, &gate, nil, join.target, identity)
	if err != nil {
		return err
	}
	if err := p.status(dp.Ready, &node{gate: dp}, dp); err != nil {
		return err
	}
	p.announce("node " + dp.NodeID())
	return p.run(ctx, nil, dp)
}

// parsePlane parses a plane's flags, which takes no arguments.
func parsePlane(f *flags) error {
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() != 0 {
		fmt.Fprintf(f.c.err, "seki %s takes no arguments, got %q\n", f.c.name, strings.Join(f.Args(), " "))
		return errUsage
	}
	return nil
}

// gate makes the data plane; reachable is its Options.Reachable.
func (p *process) gate(ctx context.Context, s *gateSettings, reachable func() bool, target string, identity *feed.Identity, dial ...grpc.DialOption) (*dataplane.DataPlane, error) {
	labels, err := parseLabels(s.labels)
	if err != nil {
		return nil, err
	}
	trusted, err := parsePrefixes(s.trustedIPs)
	if err != nil {
		return nil, err
	}
	servers, err := parseServers(s.dnsResolver)
	if err != nil {
		return nil, err
	}
	ports, err := parsePortMaps(s.portMaps)
	if err != nil {
		return nil, err
	}
	marks, err := engine.ParseIdentity(s.headers, s.headersUp)
	if err != nil {
		return nil, fmt.Errorf("--headers, --headers-upstream: %w", err)
	}
	if err := checkErrorType(s.errorType); err != nil {
		return nil, err
	}
	pages, err := s.pages.read()
	if err != nil {
		return nil, err
	}
	cert, err := readPair(s.certFile, s.certKeyFile)
	if err != nil {
		return nil, err
	}
	o := dataplane.Options{
		Pages: pages, Certificate: cert,
		ControlPlane: target, Credentials: insecure.NewCredentials(), Identity: identity, Dial: dial,
		NodeID: s.nodeID, Labels: labels, Group: s.group, Version: version, DataDir: p.dataDir,
		Plugins: p.plugins, RedisURL: s.redisURL, TrustedIPs: trusted, RouterFlavor: p.routerFlavor,
		DNSServers: servers, Marks: marks, ErrorType: s.errorType, DebugHeader: s.debugHeader, RealIPHeader: s.realIPHeader, RealIPRecursive: s.realIPRecursive, PortMaps: ports,
		HeaderTimeout: s.headerTimeout, BodyTimeout: s.bodyTimeout, IdleTimeout: s.idleTimeout,
		MaxHeaderBytes: s.maxHeader, MaxBodyBytes: s.maxBody, DrainTimeout: s.drainTimeout, LeaveTimeout: s.leaveTimeout, Patient: p.before != nil,
		Cache:     proxycache.Admin{Store: proxycache.Shared(), Now: time.Now},
		Reachable: reachable, SetLogLevel: p.level.Set, Log: p.log, Now: time.Now,
	}
	if o.Proxy, err = p.proxyDoor(&o, "proxy", "http", "proxy-listen", s.proxyListen); err != nil {
		return nil, err
	}
	if o.ProxyTLS, err = p.proxyDoor(&o, "proxy TLS", "https", "proxy-tls-listen", s.proxyTLSListen); err != nil {
		return nil, err
	}
	if err := p.streamDoors(&o, s.streamListen); err != nil {
		return nil, err
	}
	return dataplane.New(ctx, o)
}

// office makes the control plane; gate and dp are the node in the same process, if there is
// one.
func (p *process) office(ctx context.Context, s *officeSettings, gate *gateSettings, dp *dataplane.DataPlane, open ...net.Listener) (*controlplane.ControlPlane, func(), error) {
	o := controlplane.Options{
		Schema: p.schema, Plugins: p.plugins, Checker: checker{p.plugins, p.schema}, Version: version, Log: p.log, Now: time.Now,
		OpenFeeds: open, KeepRefused: s.keepRefused,
		WindowRule: adminapi.WindowRule{Agent: s.windowAgent, Quiet: s.windowQuiet}, AdminMarks: adminapi.KongMarks(),
	}
	if gate != nil {
		marks, err := engine.ParseIdentity(gate.headers, gate.headersUp)
		if err != nil {
			return nil, nil, fmt.Errorf("--headers, --headers-upstream: %w", err)
		}
		o.AdminMarks = adminapi.Marks{Server: marks.Server, Latency: marks.AdminLatency}
	}
	nodeID, err := p.nodeID(gate)
	if err != nil {
		return nil, nil, err
	}
	o.Node = &node{id: nodeID, level: p.level, gate: dp, settings: s, flavor: p.routerFlavor, proxies: gate, status: p.statusListen}
	if dp != nil {
		o.Metrics = dp.Metrics()
	}
	for _, l := range []struct {
		to                       *net.Listener
		name, scheme, flag, addr string
	}{
		{&o.Admin, "admin", s.adminScheme("http"), "admin-listen", s.adminListen},
		{&o.Console, "console", s.adminScheme("http"), "console-listen", s.consoleListen},
		{&o.GRPC, "admin gRPC", s.adminScheme("grpc"), "grpc-listen", s.grpcListen},
	} {
		if *l.to, err = p.open(l.name, l.scheme, l.flag, l.addr); err != nil {
			return nil, nil, err
		}
	}
	feed, err := p.open("feed", "grpc", "feed-listen", s.feedListen)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case feed == nil:
	case s.feedInsecure:
		o.OpenFeeds = append(o.OpenFeeds, feed)
	default:
		o.Feeds = append(o.Feeds, feed)
	}
	embedded := s.databaseURL == ""
	if err := followMove(&s.databaseURL, p.dataDir); err != nil {
		return nil, nil, err
	}
	if embedded && s.databaseURL != "" {
		p.log.Warn("the embedded store was moved: the database that it was moved to is used; --database-url says so without asking the data folder", "database", safeURL(s.databaseURL))
	}
	if s.databaseURL != "" {
		if o.ReplicaAddress, err = replicaAddress(s.replicaAddr, feed, s.databaseURL); err != nil {
			return nil, nil, err
		}
	}
	p.supervisor.say("STATUS=waiting for the store")
	st, err := openStore(ctx, p.log, s.databaseURL, p.dataDir)
	if err != nil {
		return nil, nil, err
	}
	o.Database, o.Move = func() string { return databaseName(st) }, p.mover(st, s)
	closeStore := func() {
		if err := st.Close(); err != nil {
			p.log.Error("close store", "error", err)
		}
	}
	if err := p.secure(ctx, st, s, &o); err != nil {
		closeStore()
		return nil, nil, err
	}
	return controlplane.New(o), closeStore, nil
}

// nodeID is the control plane's own id, made once and kept in the data folder.
func (p *process) nodeID(gate *gateSettings) (string, error) {
	if gate != nil && gate.nodeID != "" {
		return gate.nodeID, nil
	}
	return dataplane.KeptID(filepath.Join(p.dataDir, "controlplane-id"))
}

// status serves the status listener until the process ends: about answers GET /status; dp is
// the node in this process, if there is one.
func (p *process) status(ready func() error, about http.Handler, dp *dataplane.DataPlane) error {
	l, err := p.open("status", "http", "status-listen", p.statusListen)
	if err != nil || l == nil {
		return err
	}
	p.asked = l
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status/ready", func(w http.ResponseWriter, _ *http.Request) { answerReady(w, ready()) })
	mux.Handle("GET /status", about)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusNotFound, map[string]any{"message": "Not found"})
	})
	if dp != nil {
		mux.Handle("GET /metrics", dp.Metrics())
		mux.Handle("GET /status/refusals", dp.Refusals())
	} else if d, ok := about.(*desk); ok {
		mux.HandleFunc("GET /metrics", d.metrics)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("serve status", "error", err)
		}
	}()
	return nil
}

func answerReady(w http.ResponseWriter, err error) {
	if err != nil {
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"message": err.Error()})
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"message": "ready"})
}

func answerJSON(w http.ResponseWriter, status int, body map[string]any) {
	raw, err := json.Marshal(body)
	if err != nil {
		raw, status = []byte(`{"message":"An unexpected error occurred"}`), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(raw)
}

// run runs the planes until ctx ends or a successor serves. The node drains while its control plane
// still stands.
func (p *process) run(ctx context.Context, d *desk, dp *dataplane.DataPlane) error {
	stop, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if d != nil {
		d.start(fail)
	}
	var planes, others sync.WaitGroup
	var err error
	if dp != nil {
		planes.Go(func() { err = dp.Run(stop); fail(err) })
		p.hangUp.on("log files", dp.Reopen)
	}
	others.Go(func() { onHangUp(stop, p.hangUp.all) })
	others.Go(func() { p.takeOver(stop, dp) })
	others.Go(func() { p.supervisor.watch(stop, alive(d, dp)) })
	others.Go(func() { p.handOverOnSignal(stop, d, dp, fail) })
	<-stop.Done()
	if context.Cause(stop) != errHandedOver { // the successor speaks for the service then
		p.supervisor.say("STOPPING=1", "STATUS=requests under way are finished")
	}
	planes.Wait()
	others.Wait()
	if d != nil {
		err = errors.Join(err, d.close())
	}
	if ctx.Err() != nil || context.Cause(stop) == errHandedOver {
		notice(context.WithoutCancel(ctx), p.log, "stopped")
	}
	return err
}
