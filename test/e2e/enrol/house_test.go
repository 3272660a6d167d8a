// Package enrol_test joins real nodes to real control planes over TLS, on both stores: the
// wired control plane on one side, the feed's client on the other, one clock that the tests
// move.
package enrol_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sekifuda/sekifuda/controlplane"
	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/postgres"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/dataplane/feed"
	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/all"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// clock is the wall's, moved; what waits for it wakes when it is moved far enough.
type clock struct {
	mu     sync.Mutex
	ahead  time.Duration
	timers map[chan time.Time]time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	ch := make(chan time.Time, 1)
	at := c.Now().Add(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = map[chan time.Time]time.Time{}
	}
	c.timers[ch] = at
	time.AfterFunc(d, func() { c.move(0) })
	return ch
}

// move moves the clock and wakes who waited for less.
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
	now := time.Now().Add(c.ahead)
	for ch, at := range c.timers {
		if !at.After(now) {
			ch <- now
			delete(c.timers, ch)
		}
	}
}

// onBoth runs a test on the embedded store and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, h *house)) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Store{
		"sqlite": func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "config.db"))
			return must(t, s, err)
		},
		"postgres": func(t *testing.T) store.Store {
			s, err := postgres.Open(t.Context(), services.Postgres(t), postgres.Options{})
			return must(t, s, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := open(t)
			t.Cleanup(func() { _ = st.Close() })
			h := &house{T: t, store: st, clock: &clock{}, kek: keyring.NewRaw()}
			h.office = h.open()
			test(t, h)
		})
	}
}

func must[V any](t *testing.T, v V, err error) V {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// house is a cluster: one store, its control planes, the first of which is asked.
type house struct {
	*testing.T
	store store.Store
	clock *clock
	kek   []byte
	*office
}

// office is one control plane.
type office struct {
	feed   string
	access controlv1.AccessServiceClient
	fleet  controlv1.FleetServiceClient
}

// open starts a control plane on the house's store.
func (h *house) open() *office {
	h.Helper()
	ctx, stop := context.WithCancel(context.Background())
	key, err := keyring.NewKey(h.kek)
	keys, err2 := keyring.Open(ctx, h.store, []keyring.Key{must(h.T, key, err)})
	must(h.T, keys, err2)
	a, err := authority.Open(ctx, authority.Options{Store: h.store, Sealer: keys, Now: h.clock.Now})
	must(h.T, a, err)
	plugins, tables := words(h.T)
	listener, admin := h.listen(), h.listen()
	cp := controlplane.New(controlplane.Options{
		Store: h.store, Schema: tables, Plugins: plugins, Log: slog.New(slog.DiscardHandler), Now: h.clock.Now,
		Authority: a, Keys: keys, GRPC: admin, Feeds: []net.Listener{listener},
		ReplicaAddress: listener.Addr().String(), ReplicaSecret: []byte("of the cluster"),
	})
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx) }()
	h.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			h.Errorf("control plane: %v", err)
		}
	})
	cc, err := grpc.NewClient(admin.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(h.T, cc, err)
	h.Cleanup(func() { _ = cc.Close() })
	return &office{
		feed: listener.Addr().String(), access: controlv1.NewAccessServiceClient(cc), fleet: controlv1.NewFleetServiceClient(cc),
	}
}

func (h *house) listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	return must(h.T, l, err)
}

// words are the tables and plugins of this build.
func words(t *testing.T) (*plugin.Set, *schema.Schema) {
	plugins, err := plugin.Load(all.Definitions()...)
	must(t, plugins, err)
	var list []*schema.Plugin
	for _, p := range plugins.All() {
		list = append(list, p.Plugin)
	}
	s, err := model.New(list)
	return plugins, must(t, s, err)
}

// token makes a join token.
func (h *house) token(q *controlv1.CreateJoinTokenRequest) string {
	h.Helper()
	res, err := h.access.CreateJoinToken(h.Context(), q)
	return must(h.T, res, err).GetText()
}

// node is one node with a data folder.
type node struct {
	h        *house
	dir      string
	identity *feed.Identity
	client   *feed.Client
	log      *lockedBuffer
	stop     func()
}

// machine is a node that has not enrolled yet.
func (h *house) machine() *node {
	h.Helper()
	dir := h.TempDir()
	identity, err := feed.OpenIdentity(filepath.Join(dir, "identity"), h.clock)
	n := &node{h: h, dir: dir, identity: must(h.T, identity, err), log: &lockedBuffer{}}
	h.Cleanup(func() {
		if h.Failed() {
			h.Logf("node in %s said:\n%s", dir, n.log)
		}
	})
	return n
}

func (n *node) logger() *slog.Logger { return slog.New(slog.NewTextHandler(n.log, nil)) }

func (n *node) enroll(token, id string) error {
	ctx, cancel := context.WithTimeout(n.h.Context(), time.Minute)
	defer cancel()
	return n.identity.Enroll(ctx, n.h.feed, token, id, n.logger())
}

// enrolled is a node that has enrolled.
func (h *house) enrolled(id string) *node {
	h.Helper()
	n := h.machine()
	if err := n.enroll(h.token(&controlv1.CreateJoinTokenRequest{}), id); err != nil {
		h.Fatalf("Enroll(%s) = %v", id, err)
	}
	return n
}

// start runs the node's end of the feed until it is stopped, at one control plane.
func (n *node) start(at *office) *node {
	id, group := n.identity.Node()
	return n.startAs(at, id, group)
}

func (n *node) startAs(at *office, id, group string) *node {
	n.h.Helper()
	cc, err := feed.Dial(at.feed, n.identity.Credentials())
	must(n.h.T, cc, err)
	c, err := feed.New(feed.Options{
		Conn: cc, Identity: n.identity, NodeID: id, Group: group, Version: "test", Applier: takesAll{}, Clock: n.h.clock, Log: n.logger(),
	})
	n.client = must(n.h.T, c, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.client.Run(ctx) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-done; _ = cc.Close() })
	n.h.Cleanup(n.stop)
	return n
}

type takesAll struct{}

func (takesAll) Apply(context.Context, feed.Move) error { return nil }

// says waits until the node's log has text.
func (n *node) says(text string) {
	n.h.Helper()
	stack.Eventually(n.h.T, func() error {
		if !strings.Contains(n.log.String(), text) {
			return fmt.Errorf("node does not say %q:\n%s", text, n.log.String())
		}
		return nil
	})
}

// seen waits until a control plane shows a node as connected, or not, and returns it.
func (h *house) seen(at *office, id string, connected bool) *controlv1.Node {
	h.Helper()
	var found *controlv1.Node
	stack.Eventually(h.T, func() error {
		res, err := at.fleet.ListNodes(h.Context(), &controlv1.ListNodesRequest{})
		if err != nil {
			return err
		}
		for _, n := range res.GetNodes() {
			if n.GetId() == id && n.GetConnected() == connected {
				found = n
				return nil
			}
		}
		return fmt.Errorf("no node %s with connected %t in %v", id, connected, res)
	})
	return found
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// elsewhere is the store of another cluster.
func elsewhere(t *testing.T) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "other.db"))
	st := must(t, s, err)
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// anyTLS believes everybody and shows nothing.
func anyTLS() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
}
