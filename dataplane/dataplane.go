// Package dataplane is the gate: it wires the rooms that serve traffic and runs them. Enter
// at New.
package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sekifuda/sekifuda/dataplane/block"
	"github.com/sekifuda/sekifuda/dataplane/engine"
	"github.com/sekifuda/sekifuda/dataplane/feed"
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/limits"
	"github.com/sekifuda/sekifuda/dataplane/records"
	"github.com/sekifuda/sekifuda/dataplane/telemetry"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Counts are connections and requests, in nginx's words.
type Counts = engine.Counts

// Options are what a node is made of. Listeners that are nil are not served.
type Options struct {
	ControlPlane string // gRPC target of the feed
	Credentials  credentials.TransportCredentials
	Identity     *feed.Identity // decides id and group; nil: the node says who it is
	Dial         []grpc.DialOption
	NodeID       string // "": made once and kept in the data folder
	Labels       map[string]string
	Group        string // claimed; a certificate's group wins
	Version      string
	DataDir      string
	Plugins      *plugin.Set

	Proxy    net.Listener
	ProxyTLS net.Listener
	// Streams serve connections that carry no HTTP, those of StreamsTLS ones that begin with a
	// TLS handshake.
	Streams    []net.Listener
	StreamsTLS []net.Listener
	// Announced are the listeners whose connections begin with a PROXY protocol header.
	Announced []net.Listener

	RedisURL        string
	TrustedIPs      []netip.Prefix
	ErrorType       string
	Pages           map[string]engine.Page // see engine.Options
	Certificate     *tls.Certificate       // see engine.Options
	DebugHeader     bool
	Marks           *engine.Identity // what the gate leaves on messages; nil: Kong's defaults
	DNSServers      []string         // addresses with ports; nil: the system's
	RealIPHeader    string
	RealIPRecursive bool
	PortMaps        map[uint16]uint16 // see engine.Options
	RouterFlavor    string            // which routes are served; see graph.Compiler
	HeaderTimeout   time.Duration
	BodyTimeout     time.Duration
	IdleTimeout     time.Duration
	MaxHeaderBytes  int
	MaxBodyBytes    int64
	DrainTimeout    time.Duration
	// LeaveTimeout is DrainTimeout after HandedOver: nobody waits for this process to end.
	LeaveTimeout time.Duration
	// Patient doors stay shut until the node enforces a revision: another process serves them
	// until then.
	Patient bool

	Cache Cache // of answers; nil: nobody looks into it
	// SetLogLevel changes how much the node logs, for so long; nil: the control plane cannot.
	SetLogLevel func(level string, d time.Duration) error

	// Reachable reports whether the database of configuration answers, where the node can
	// know; nil: whether the control plane does.
	Reachable func() bool

	Log *slog.Logger
	Now func() time.Time
}

// DataPlane is a node, ready to run.
type DataPlane struct {
	Options
	engine    *engine.Engine
	following following
	limits    *limits.Limits
	metrics   *telemetry.Metrics
	refusals  *telemetry.Refusals
	compiler  *graph.Compiler
	crew      *crew
	network   *upstream.Network
	records   records.Records

	graph   *graph.Graph // owned by the feed's loop
	served  atomic.Pointer[graph.Graph]
	tally   tally
	rules   rules
	running atomic.Pointer[feedv1.Pos]
	first   chan struct{} // closed when running is first set
	left    atomic.Bool   // another process serves the same doors

	blocking sync.Mutex // held while blocks are put in force, one list after the other
	blocked  atomic.Pointer[block.Set]
	reblock  chan struct{}
}

// New wires the rooms. It does no network I/O; it reads the node's id from its data folder.
func New(_ context.Context, o Options) (*DataPlane, error) {
	if o.Identity != nil {
		o.NodeID, o.Group = o.Identity.Node()
		o.Credentials = o.Identity.Credentials()
	}
	if o.NodeID == "" {
		id, err := KeptID(filepath.Join(o.DataDir, "node-id"))
		if err != nil {
			return nil, err
		}
		o.NodeID = id
	}
	d := &DataPlane{
		Options: o, crew: newCrew(o.Log), refusals: telemetry.NewRefusals(), first: make(chan struct{}), reblock: make(chan struct{}, 1),
		network: upstream.NewNetwork(upstream.NetworkOptions{
			Now: o.Now, Resolver: &upstream.DNS{Servers: o.DNSServers},
		}),
	}
	var err error
	if d.limits, err = limits.New(limits.Options{RedisURL: o.RedisURL, Logger: o.Log, Clock: o.Now}); err != nil {
		return nil, fmt.Errorf("--redis-url: %w", err)
	}
	if d.records, err = newRecords(o); err != nil {
		return nil, err
	}
	if d.engine, err = engine.New(engine.Options{
		HeaderTimeout: o.HeaderTimeout, BodyTimeout: o.BodyTimeout, IdleTimeout: o.IdleTimeout,
		MaxHeaderBytes: o.MaxHeaderBytes, MaxBodyBytes: o.MaxBodyBytes, TrustedIPs: o.TrustedIPs,
		ErrorType: o.ErrorType, Pages: o.Pages, Certificate: o.Certificate, DebugHeader: o.DebugHeader, Identity: o.Marks,
		RealIPHeader: o.RealIPHeader, RealIPRecursive: o.RealIPRecursive, PortMaps: o.PortMaps,
		Network: d.network, Logger: o.Log, Refused: d.refusals.Note,
	}); err != nil {
		return nil, err
	}
	d.metrics = telemetry.New(telemetry.Options{
		NodeID: o.NodeID, Version: o.Version, Counts: d.traffic, Stores: d.stores, Refusals: d.refusals, Targets: d.targets, Store: d.reachable,
		Blocks: d.blockCounts, State: d.state,
	})
	d.compiler = &graph.Compiler{Plugins: o.Plugins, RouterFlavor: o.RouterFlavor, Now: o.Now, Host: d.host, Getenv: os.LookupEnv}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = o.NodeID
	}
	conn, err := feed.Dial(o.ControlPlane, o.Credentials, o.Dial...)
	if err != nil {
		return nil, err
	}
	return d, d.following.init(feed.Options{
		Conn: conn, Identity: o.Identity, NodeID: o.NodeID, Group: o.Group, Hostname: hostname, Labels: o.Labels, Version: o.Version,
		Dir: filepath.Join(o.DataDir, "snapshots"), Applier: d, Answer: d.answer, Block: d.block, Log: o.Log,
		Stats: func() []*feedv1.RevisionStats { return d.tally.since(d.engine.Served()) },
	})
}

// newRecords keeps the records of filters in the Redis that gates share, else in the node's
// data folder.
func newRecords(o Options) (records.Records, error) {
	r := records.Options{Now: o.Now}
	if o.DataDir != "" {
		r.Path = filepath.Join(o.DataDir, "records.db")
	}
	if o.RedisURL != "" {
		client, err := limits.Dial(o.RedisURL)
		if err != nil {
			return nil, fmt.Errorf("--redis-url: %w", err)
		}
		r.Redis = client
	}
	return records.New(r)
}

// NodeID is the node's name.
func (d *DataPlane) NodeID() string { return d.Options.NodeID }

// Metrics serves /metrics.
func (d *DataPlane) Metrics() http.Handler { return d.metrics }

// Refusals serves why requests were refused here.
func (d *DataPlane) Refusals() http.Handler { return d.refusals }

// Counts are the engine's connections and requests.
func (d *DataPlane) Counts() Counts { return d.engine.Counts() }

// Alive returns once the locks could be had by which requests are served and configuration is
// followed: for a watchdog, which takes it that it does not return for an answer.
func (d *DataPlane) Alive() {
	d.engine.Served()
	d.following.connected()
}

// Running is the position that the node enforces; zero before the first.
func (d *DataPlane) Running() feedv1.Pos {
	if p := d.running.Load(); p != nil {
		return *p
	}
	return feedv1.Pos{}
}

// Ready is nil once the node enforces a revision.
func (d *DataPlane) Ready() error {
	if d.running.Load() == nil {
		return errors.New("no configuration available (empty configuration present)")
	}
	return nil
}

// Apply implements feed.Applier: it compiles a move and swaps it in. What cannot be compiled
// is refused by name while the old graph serves on.
func (d *DataPlane) Apply(ctx context.Context, m feed.Move) error {
	prev := d.graph
	base := prev
	if m.Full {
		base = nil
	}
	changes := make([]graph.Change, len(m.Changes))
	for i, c := range m.Changes {
		changes[i] = graph.Change{Kind: c.Kind, ID: c.ID, Rev: c.Rev, Body: c.Body}
	}
	next, err := d.compiler.Apply(base, changes, m.To.Staged)
	var refusal *graph.Refusal
	if errors.As(err, &refusal) {
		return refused(refusal)
	}
	if err != nil {
		return err
	}
	begin, end := turnover(next, prev, d.network)
	d.crew.begin(begin)
	old := d.engine.Swap(next, m.To.Staged)
	d.crew.end(ctx, end, old)
	d.graph = next
	d.served.Store(next)
	if d.running.Swap(&m.To) == nil {
		close(d.first)
	}
	return nil
}

// Reopen has filters open their files anew, after an operator has rotated them.
func (d *DataPlane) Reopen() {
	for _, in := range d.served.Load().Instances() {
		if f, ok := in.Filter.(plugin.Reopener); ok {
			f.Reopen()
		}
	}
}

// door is a listener as the engine is to take it.
func (d *DataPlane) door(l net.Listener) net.Listener {
	if slices.Contains(d.Announced, l) {
		return engine.Announced{Listener: l}
	}
	return l
}

func refused(r *graph.Refusal) error {
	out := &feed.Refused{}
	for _, v := range r.Violations {
		out.Violations = append(out.Violations, feed.Violation{Object: v.Object, Field: v.Field, Reason: v.Reason})
	}
	return out
}

// Run serves until ctx ends, then drains: requests finish, keep-alive connections close,
// filters send what they have queued.
func (d *DataPlane) Run(ctx context.Context) error {
	// The last good configuration serves before there is any connection.
	d.following.boot(ctx)
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	g := new(errgroup.Group)
	stop, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	watch := func(f func() error) {
		g.Go(func() error {
			err := f()
			if err != nil && !errors.Is(err, context.Canceled) {
				fail(err)
				return err
			}
			return nil
		})
	}
	d.following.start(stop)
	watch(func() error { return d.engine.Run(work) })
	watch(func() error { return d.limits.Run(work) })
	watch(func() error { return d.records.Run(work) })
	watch(func() error { return d.expire(work) })
	if d.Patient {
		select {
		case <-d.first:
		case <-stop.Done():
		}
	}
	if d.Proxy != nil {
		watch(func() error { return d.engine.Serve(d.door(d.Proxy)) })
	}
	if d.ProxyTLS != nil {
		watch(func() error { return d.engine.ServeTLS(d.door(d.ProxyTLS)) })
	}
	for _, l := range d.Streams {
		watch(func() error { return d.engine.ServeStream(d.door(l), false) })
	}
	for _, l := range d.StreamsTLS {
		watch(func() error { return d.engine.ServeStream(d.door(l), true) })
	}
	<-stop.Done()
	d.following.end()
	d.drain(work)
	d.crew.finish()
	stopWork()
	return g.Wait()
}

// drain returns when the requests under way are over, or were cut off.
func (d *DataPlane) drain(ctx context.Context) {
	timeout, leave := d.DrainTimeout, d.engine.Shutdown
	if d.left.Load() {
		timeout = d.LeaveTimeout
		follow, end := context.WithCancel(ctx)
		defer end()
		go d.following.blocksOf(follow)
		leave = func(ctx context.Context) error { return d.engine.HandOver(ctx, min(tellWithin, timeout)) }
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := leave(ctx); err != nil {
		d.Log.Warn("requests were cut off at the end of the drain", "timeout", timeout)
	}
}
