package replicas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// clock is a database whose clock the test turns.
type clock struct {
	store.Store
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now(context.Context) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(1e9, 0).Add(c.ahead), nil
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func open(t *testing.T) *clock {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &clock{Store: st}
}

// replica is one in this process, served on a real address.
type replica struct {
	*Replicas
	t      *testing.T
	server *grpc.Server
	end    context.CancelFunc
	ended  chan struct{}
	levels chan string
}

// start starts a replica at addr; empty: at one that is free.
func start(t *testing.T, st Store, addr, secret string) *replica {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, server: grpc.NewServer(), ended: make(chan struct{}), levels: make(chan string, 8)}
	r.Replicas = New(Options{
		Store: st, Fleet: fleet.New(nil), Address: l.Addr().String(), Plain: true, Secret: []byte(secret), Every: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		SetLogLevel: func(level string, d time.Duration) error {
			if level == "odd" {
				return errors.New("unknown log level: odd")
			}
			r.levels <- fmt.Sprint(level, " ", d)
			return nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	controlv1.RegisterReplicaServiceServer(r.server, r.Service(ctx))
	go func() { _ = r.server.Serve(l) }()
	go func() {
		defer close(r.ended)
		_ = r.Run(ctx)
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends it in order.
func (r *replica) stop() {
	r.end()
	<-r.ended
	r.server.Stop()
}

// eventually waits for what a condition says to be true.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// sees waits until a replica has so many others, of which some do not answer.
func (r *replica) sees(others int, unheard ...string) {
	r.t.Helper()
	eventually(r.t, func() error {
		all := r.Fleet.Replicas()
		if got := r.Fleet.Unheard(); len(all) != others || !slices.Equal(got, unheard) {
			return fmt.Errorf("replicas are %+v, unheard %q, want %d and %q", all, got, others, unheard)
		}
		return nil
	})
}

func at(rev uint64) feedv1.Pos {
	return feedv1.Pos{Epoch: "e", Generation: 1, Staged: rev, Live: rev}
}

// node connects a node to a replica.
func (r *replica) node(stream int64, id string, rev uint64) {
	r.Fleet.Connected(stream, fleet.Node{ID: id, Group: "default"})
	r.Fleet.Enforced(stream, at(rev))
}

// TestWaitFar waits at one replica for the nodes of both.
func TestWaitFar(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "s")
	a.sees(1)
	b.sees(1)
	a.node(1, "a1", 7)
	b.node(1, "b1", 6)
	b.node(2, "b2", 7)
	wait := func(ctx context.Context, rev uint64, fraction float64, enforcing, connected int) {
		t.Helper()
		if e, c := a.Fleet.WaitEnforced(ctx, rev, fraction); e != enforcing || c != connected {
			t.Errorf("WaitEnforced(%d, %v) = %d of %d, want %d of %d", rev, fraction, e, c, enforcing, connected)
		}
	}
	patient, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended, end := context.WithCancel(t.Context())
	end()
	eventually(t, func() error {
		if e, c := a.Fleet.WaitEnforced(ended, 7, 1); e != 2 || c != 3 {
			return fmt.Errorf("%d of %d enforce it, want 2 of 3", e, c)
		}
		return nil
	})
	wait(patient, 7, 0.6, 2, 3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait(patient, 7, 1, 3, 3)
	}()
	b.Fleet.Enforced(1, at(7))
	<-done
	b.Fleet.Refused(1, &feedv1.Refusal{Running: at(7).Proto(), Refused: at(8).Proto()}, "no")
	b.Fleet.Refused(2, &feedv1.Refusal{Running: at(7).Proto(), Refused: at(8).Proto()}, "no")
	a.Fleet.Enforced(1, at(8))
	wait(patient, 8, 1, 1, 3) // the others never will
	if e, c := a.Fleet.WaitAssigned(patient, map[string]uint64{"default": 1}); e != 3 || c != 3 {
		t.Errorf("WaitAssigned = %d of %d, want 3 of 3", e, c)
	}
	if e, c := a.Fleet.WaitAssigned(ended, map[string]uint64{"default": 2}); e != 0 || c != 3 {
		t.Errorf("WaitAssigned = %d of %d, want 0 of 3", e, c)
	}
	if e, c := a.Fleet.CountBlocking(0); e != 0 || c != 3 {
		t.Errorf("CountBlocking = %d of %d, want 0 of 3: none has said what it blocks", e, c)
	}
	eventually(t, func() error {
		if !a.Fleet.Runs("e", 8) || a.Fleet.Runs("e", 9) || a.Fleet.Runs("f", 1) || !b.Fleet.Runs("e", 8) {
			return errors.New("Runs is wrong about what the nodes of both enforce")
		}
		return nil
	})
}

// TestNodesFar lists the nodes of both; the replica that a node is connected to knows best.
func TestNodesFar(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "s")
	a.sees(1)
	b.sees(1)
	a.node(1, "moved", 1)
	a.Fleet.Disconnected(1)
	b.node(1, "moved", 2)
	b.node(2, "stays", 2)
	a.node(3, "came", 3)
	b.node(3, "came", 1)
	b.Fleet.Disconnected(3)
	var got []string
	for _, n := range a.Nodes(t.Context()) {
		got = append(got, fmt.Sprintf("%s %t %d %t", n.GetId(), n.GetConnected(), n.GetRunning().GetStagedRev(), n.GetReplica() == b.Address))
	}
	if want := []string{"came true 3 false", "moved true 2 true", "stays true 2 true"}; !slices.Equal(got, want) {
		t.Errorf("Nodes = %q, want %q", got, want)
	}
}

// TestLifeOfReplicas follows what the others see of one that stops, is killed, comes back, or never
// could be reached.
func TestLifeOfReplicas(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "s")
	a.sees(1)
	b.node(1, "b1", 1)
	b.stop()
	a.sees(0) // it took its row along

	c := start(t, st, b.Address, "s")
	a.sees(1)
	c.server.Stop() // as if it was killed: the row stays
	a.sees(1, c.Address)
	if e, n := a.Fleet.WaitEnforced(t.Context(), 1, 1); e != 0 || n != 0 {
		t.Errorf("WaitEnforced = %d of %d without nodes that are heard of", e, n)
	}
	// Another process at that address: the old row's replica is no more, and not missed.
	c.end()
	<-c.ended
	left := row{Address: c.Address, Plain: true, At: time.Unix(1e9, 0)}
	leave(t, st, "left", left)
	start(t, st, c.Address, "s")
	eventually(t, func() error {
		all := a.Fleet.Replicas()
		if len(all) != 1 || !all[0].Heard || all[0].Name != c.Address {
			return fmt.Errorf("replicas are %+v, want the new one alone", all)
		}
		return nil
	})
	leave(t, st, "nowhere", row{At: time.Unix(1e9, 0)})
	a.sees(2, "a replica without a feed (nowhere)")
	st.turn(leaseFor + time.Second)
	a.sees(1) // leases of the dead are over, the living have new ones
	st.turn(sweepAfter)
	eventually(t, func() error {
		rows, err := a.rows(t.Context())
		if len(rows) != 2 {
			err = errors.Join(err, fmt.Errorf("%d rows are left, want those of the living", len(rows)))
		}
		return err
	})
}

// TestRowGoesWithItsReplica ends a replica whose last beat was written and not answered.
func TestRowGoesWithItsReplica(t *testing.T) {
	t.Parallel()
	st := open(t)
	r := New(Options{Store: st, Address: "a", Log: slog.New(slog.DiscardHandler)})
	for range 2 {
		if err := r.renew(t.Context(), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	r.version--
	if err := r.remove(t.Context()); err != nil {
		t.Errorf("remove = %v", err)
	}
	if rows, err := r.rows(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("rows are %+v, %v", rows, err)
	}
}

// leave leaves a row of a replica that is not there.
func leave(t *testing.T, st Store, id string, is row) {
	t.Helper()
	left := New(Options{Store: st, Address: is.Address, Plain: is.Plain})
	left.id = id
	if err := left.renew(t.Context(), is.At); err != nil {
		t.Fatal(err)
	}
}

// TestStrangers asks without the cluster's secret, and follows one that has another.
func TestStrangers(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "another")
	a.sees(1, b.Address)
	conn, err := grpc.NewClient(a.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := controlv1.NewReplicaServiceClient(conn)
	follow := func() error {
		s, err := c.Follow(t.Context(), &controlv1.FollowRequest{})
		if err != nil {
			return err
		}
		_, err = s.Recv()
		return err
	}
	for name, call := range map[string]func() error{
		"Follow": follow,
		"Ask":    func() error { _, err := c.Ask(t.Context(), &controlv1.AskRequest{}); return err },
		"Seen":   func() error { _, err := c.Seen(t.Context(), &controlv1.SeenRequest{}); return err },
		"SetLogLevel": func() error {
			_, err := c.SetLogLevel(t.Context(), &controlv1.SetLogLevelRequest{Level: "debug"})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s without the secret = %v, want PermissionDenied", name, err)
		}
	}
	if len(a.levels) > 0 {
		t.Error("a stranger changed the log level")
	}
}

// TestLogLevel changes it everywhere, and refuses what is no level.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "s")
	a.sees(1)
	if err := a.LogLevel(t.Context(), "debug", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*replica{a, b} {
		if got := <-r.levels; got != "debug 1m0s" {
			t.Errorf("level set to %q, want debug 1m0s", got)
		}
	}
	if err := a.LogLevel(t.Context(), "odd", 0); err == nil || !strings.Contains(err.Error(), "odd") {
		t.Errorf("LogLevel(odd) = %v", err)
	}
}

// TestWindowsAreKept claims windows at two replicas, and follows one whose keeper died until its
// token may be used again.
func TestWindowsAreKept(t *testing.T) {
	t.Parallel()
	st := open(t)
	a, b := start(t, st, "", "s"), start(t, st, "", "s")
	a.sees(1)
	b.sees(1)
	claim := func(r *replica, token string, run bool, want, fails string) func() {
		t.Helper()
		replica, release, err := r.Claim(t.Context(), token, run)
		if replica != want || (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("Claim(%s) = %q, %v, want %q, %q", token, replica, err, want, fails)
		}
		return release
	}
	first := claim(a, "t", false, "", "")
	claim(b, "t", false, a.id, "")
	second := claim(a, "t", false, "", "") // opened again before the first was given up
	first()
	claim(b, "t", false, a.id, "")
	second()
	claim(b, "t", false, "", "")
	if replica, err := a.Find(t.Context(), "t"); replica != b.id || err != nil {
		t.Errorf("Find = %q, %v", replica, err)
	}
	if replica, err := a.Find(t.Context(), "none"); replica != "" || err != nil {
		t.Errorf("Find of none = %q, %v", replica, err)
	}
	var wg sync.WaitGroup
	keepers := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			r := []*replica{a, b}[i%2]
			replica, _, err := r.Claim(t.Context(), "many", false)
			if err != nil {
				t.Error(err)
			}
			if replica == "" {
				replica = r.id
			}
			keepers <- replica
		})
	}
	wg.Wait()
	close(keepers)
	one := <-keepers
	for k := range keepers {
		if k != one {
			t.Errorf("%s and %s keep the same window", k, one)
		}
	}

	claim(b, "run", true, "", "")
	b.stop() // its row goes, and its windows with it
	a.sees(0)
	const gone = "is gone"
	claim(a, "t", false, "", gone)
	claim(a, "run", true, "", gone)
	if replica, err := a.Find(t.Context(), "t"); replica != "" || err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("Find of a lost window = %q, %v", replica, err)
	}
	st.turn(silentRun - time.Second)
	claim(a, "run", true, "", gone) // its client goes on
	st.turn(silentRun - time.Second)
	claim(a, "run", true, "", gone)
	st.turn(silentRun + time.Second)
	claim(a, "run", true, "", "")
	claim(a, "t", false, "", gone)
	if was, err := a.Forget(t.Context(), "t"); !was || err != nil {
		t.Errorf("Forget = %t, %v", was, err)
	}
	if was, err := a.Forget(t.Context(), "run"); was || err != nil {
		t.Errorf("Forget of one that is kept = %t, %v", was, err)
	}
	claim(a, "t", false, "", "")
}
