// Package controlplane is the office: it wires the rooms that own configuration and runs
// them. Enter at New.
package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sekifuda/sekifuda/controlplane/adminapi"
	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/block"
	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/console"
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/grpcapi"
	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/publish"
	"github.com/sekifuda/sekifuda/controlplane/release"
	"github.com/sekifuda/sekifuda/controlplane/replicas"
	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/scope"
	"github.com/sekifuda/sekifuda/controlplane/xds"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// waitAtMost is how long a REST write's answer is held back for nodes to enforce it, unless
// the client says otherwise.
const waitAtMost = 500 * time.Millisecond

// canaryTime is how long one node of a group has a revision before the others, if it does not
// answer sooner.
const canaryTime = 250 * time.Millisecond

// shutdownTimeout bounds how long calls under way may take once the process is to end.
const shutdownTimeout = 5 * time.Second

// Options are what a control plane is made of. Listeners that are nil are not served.
type Options struct {
	Store    store.Store
	Database func() string // "postgres" or "sqlite"
	// Move moves an embedded store to the PostgreSQL at a URL; nil: there is none to move.
	Move    func(ctx context.Context, url string) (*controlv1.MoveResponse, error)
	Schema  *schema.Schema
	Plugins *plugin.Set
	Checker config.Checker
	Node    adminapi.Node
	Metrics http.Handler
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	// KeepRefused leaves revisions that nodes refuse as they are, for somebody to mend.
	KeepRefused bool
	// AdminMarks are what the Admin API leaves on its answers.
	AdminMarks adminapi.Marks
	// WindowRule may have the runs of a client of the Admin API be change windows.
	WindowRule adminapi.WindowRule

	Authority *authority.Authority // nil: nodes cannot prove who they are, and there are only OpenFeeds
	Keys      *keyring.Keyring
	Pepper    []byte // of the hashes of API keys that nodes get; empty: they get the keys

	// ReplicaAddress is where other control planes on the same database reach a feed of this one;
	// empty: they cannot. ReplicaSecret is known to all of them; empty: there are no others.
	ReplicaAddress string
	ReplicaSecret  []byte

	// AdminTLS is what the Admin API's doors and the console speak TLS by, for protocols; nil:
	// they speak without.
	AdminTLS func(protocols ...string) *tls.Config

	// Guard stands before the Admin API and the console.
	Guard *guard.Guard

	Admin   net.Listener
	Console net.Listener
	GRPC    net.Listener
	// Feeds serve nodes that prove who they are; OpenFeeds take them at their word: those
	// within the process, and on loopback.
	Feeds     []net.Listener
	OpenFeeds []net.Listener
}

// ControlPlane is the office, ready to run.
type ControlPlane struct {
	Options
	started time.Time
	config  *config.Config
	windows *config.Windows
	fleet   *fleet.Fleet
	cache   *xds.Cache
	publish *publish.Publisher
	release *release.Desk
	blocks  *block.Desk
	poison  *poison // nil: what nodes refuse stays
	// replicas are the others on the same database; alone it asks its own nodes.
	replicas *replicas.Replicas
	admin    http.Handler
}

// New wires the rooms. It starts nothing.
func New(o Options) *ControlPlane {
	if o.Guard == nil {
		o.Guard = guard.New(guard.Options{})
	}
	c := &ControlPlane{Options: o, started: o.Now()}
	c.config = config.New(o.Store, o.Schema, o.Checker, o.Now)
	c.windows = config.NewWindows(c.config, o.Log)
	c.fleet = fleet.New(o.Now)
	calls := &carrier{}
	c.replicas = newReplicas(&o, c.fleet, calls)
	c.blocks = block.New(block.Options{Store: scope.New(o.Store), Find: find(c.config), Now: o.Now, Concern: guard.Concern, Changed: c.fleet.Tell, Log: o.Log})
	c.fleet.Blocking(c.blocks.Current)
	observer := publish.Observe(c.fleet)
	if !o.KeepRefused {
		c.poison = newPoison(observer, c.fleet, c.config, o.Log)
		observer = c.poison
	}
	c.cache = xds.New(xds.Options{Observer: observer, Now: o.Now, Canary: canaryTime})
	rules := &snapshot.Rules{Live: live(o.Schema)}
	rules.Require(o.Schema.RouterFlavor)
	if len(o.Pepper) > 0 {
		rules.HashKeys(o.Pepper)
	}
	c.publish = publish.New(publish.Options{
		Store: o.Store, Cache: c.cache, Fleet: c.fleet, Log: o.Log,
		Rules: rules, Origin: o.Store.Revision, Lost: c.lost, Groups: c.groups,
	})
	c.release = release.New(release.Options{
		Store: o.Store, Now: o.Now, Clock: o.Store.Now, Woke: c.publish.Wake, Refused: c.fleet.Refusal, Log: o.Log,
		Counts: func(group string, rev uint64) release.Counts { return release.Counts(c.fleet.Served(group, rev)) },
	})
	calls.api = c.adminAPI()
	c.admin = calls.api
	return c
}

// lost gives the history a new epoch when the database has fewer revisions than were published
// or than a node runs: it was restored from a backup, or a failover lost commits. Nodes are
// then brought to what the database has.
func (c *ControlPlane) lost(ctx context.Context, had, have uint64) error {
	c.Log.Error("the database lost revisions; nodes are brought back to what it has", "had", had, "have", have)
	epoch, _ := c.cache.Head()
	return c.Store.Renew(ctx, epoch)
}

// groups reads how groups are assigned.
func (c *ControlPlane) groups(ctx context.Context) ([]rollout.Group, error) {
	return c.release.Groups(ctx)
}

// live tells the kinds that never wait for a rollout.
func live(s *schema.Schema) func(kind string) bool {
	return func(kind string) bool {
		t := s.Table(kind)
		return t != nil && t.Live
	}
}

// Ready reports whether nodes can be served: whether a revision is published.
func (c *ControlPlane) Ready() bool {
	epoch, _ := c.cache.Head()
	return epoch != ""
}

// Alive returns once the locks could be had by which nodes are served: for a watchdog, which takes
// it that it does not return for an answer. An outage of the database is none of its business.
func (c *ControlPlane) Alive() {
	c.fleet.Nodes()
	c.cache.Head()
}

// reachableWithin bounds the question whether the database answers: a scrape waits for it.
const reachableWithin = time.Second

// Reachable reports whether the database answers now.
func (c *ControlPlane) Reachable() bool {
	ctx, cancel := context.WithTimeout(context.Background(), reachableWithin)
	defer cancel()
	return c.config.Ping(ctx) == nil
}

// Run serves until ctx ends, then finishes the calls under way.
func (c *ControlPlane) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ended(c.publish.Run(ctx)) })
	g.Go(func() error { return ended(c.cache.Run(ctx)) })
	g.Go(func() error { return ended(c.fleet.Run(ctx)) })
	g.Go(func() error { return ended(c.release.Run(ctx)) })
	g.Go(func() error { return ended(c.blocks.Run(ctx)) })
	if len(c.ReplicaSecret) > 0 {
		g.Go(func() error { return ended(c.replicas.Run(ctx)) })
	}
	if c.poison != nil {
		g.Go(func() error { return ended(c.poison.run(ctx)) })
	}
	g.Go(func() error { return c.windows.Run(ctx) })
	if c.Authority != nil {
		g.Go(func() error { return ended(c.Authority.Run(ctx)) })
	}
	c.serveFeeds(ctx, g)
	if c.GRPC != nil {
		o := []grpc.ServerOption{grpc.ChainUnaryInterceptor(c.Guard.Unary, grpcapi.Intercept(c.Log)),
			grpc.ChainStreamInterceptor(c.Guard.Stream, grpcapi.InterceptStream(c.Log)), grpc.MaxRecvMsgSize(64 << 20)}
		if c.AdminTLS != nil {
			o = append(o, grpc.Creds(credentials.NewTLS(c.AdminTLS("h2"))))
		}
		s := grpc.NewServer(o...)
		grpcapi.Register(s, grpcapi.Options{
			Config: c.config, Fleet: c.fleet, Release: c.release, Blocks: c.blocks, Nodes: asked{c.replicas}, Authority: c.Authority, Keys: c.Keys, Audit: c.Store,
			Version: c.Version, RouterFlavor: c.Schema.RouterFlavor, Database: c.Database, Move: c.Move, Started: c.started, Log: c.Log,
		})
		serveGRPC(ctx, g, "gRPC Admin API", s, c.GRPC)
	}
	if c.Admin != nil {
		c.serveHTTP(ctx, g, "Admin API", c.Guard.HTTP(c.admin), c.Admin)
	}
	if c.Console != nil {
		c.serveHTTP(ctx, g, "console", c.Guard.HTTP(console.Handler(c.overview, c.Log)), c.Console)
	}
	return g.Wait()
}

// serveFeeds serves all feeds by one server: streams are numbered by it.
func (c *ControlPlane) serveFeeds(ctx context.Context, g *errgroup.Group) {
	feeds, o := c.OpenFeeds, xds.ServerOptions{Identify: identify, Nodes: fleet.NewReports(ctx, c.fleet, reporter)}
	if c.Authority != nil {
		feeds = slices.Clone(c.Feeds)
		for _, l := range c.OpenFeeds {
			feeds = append(feeds, authority.Trusted(l))
		}
		o.GRPC = append(c.Authority.Intercept(), grpc.Creds(c.Authority.Credentials()))
	}
	if len(feeds) == 0 {
		return
	}
	s := xds.NewServer(ctx, c.cache, o)
	if len(c.ReplicaSecret) > 0 {
		controlv1.RegisterReplicaServiceServer(s, c.replicas.Service(ctx))
	}
	if c.Authority != nil {
		feedv1.RegisterBootstrapServiceServer(s, c.Authority.Service())
	}
	for _, l := range feeds {
		serveGRPC(ctx, g, "feed", s, l)
	}
}

// Status answers GET /status as the Admin API does, to whoever reaches it.
func (c *ControlPlane) Status() http.Handler { return c.adminAPI() }

func (c *ControlPlane) adminAPI() http.Handler {
	var elsewhere adminapi.Elsewhere
	if len(c.ReplicaSecret) > 0 {
		elsewhere = c.replicas
	}
	return adminapi.New(adminapi.Options{
		Config: c.config, Plugins: c.Plugins, Waiter: c.fleet, Node: c.Node, Metrics: c.Metrics,
		Fleet: dataPlanes{c.replicas}, Health: asked{c.replicas}, Cache: asked{c.replicas}, LogLevel: asked{c.replicas}.logLevel, Windows: c.windows, Elsewhere: elsewhere, Blocks: blocks{c.blocks, c.fleet}, WindowRule: c.WindowRule, Log: c.Log, WaitAtMost: waitAtMost, Marks: c.AdminMarks,
	})
}

func (c *ControlPlane) overview(r *http.Request) console.Overview {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	o := console.Overview{
		Version: c.Version, Uptime: c.Now().Sub(c.started).Round(time.Second),
		Database: c.Database(), Reached: c.config.Ping(ctx) == nil,
	}
	_, o.Revision = c.cache.Head()
	for _, n := range (asked{c.replicas}).List(ctx) {
		o.Nodes = append(o.Nodes, console.Node{
			ID: n.GetId(), Group: n.GetGroup(), Address: n.GetIp(), Connected: n.GetConnected(),
			Running: n.GetRunning().GetStagedRev(), Target: n.GetTarget().GetStagedRev(), Refused: refusedObject(n),
		})
	}
	if counts, err := c.config.Counts(ctx); err == nil {
		for _, t := range c.Schema.Tables() {
			if n := counts[t.Kind]; n > 0 {
				o.Entities = append(o.Entities, console.Count{Kind: t.Kind, N: n})
			}
		}
	}
	return o
}

func serveGRPC(ctx context.Context, g *errgroup.Group, what string, s *grpc.Server, l net.Listener) {
	g.Go(func() error {
		if err := s.Serve(l); err != nil && ctx.Err() == nil {
			return fmt.Errorf("serve %s: %w", what, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop := time.AfterFunc(shutdownTimeout, s.Stop)
		defer stop.Stop()
		s.GracefulStop()
		return nil
	})
}

// ended turns the end that was asked for into none.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
