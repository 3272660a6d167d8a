package xds

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// A story is a text file of testdata/stories, read line by line: what the control plane does
// and what nodes, over real gRPC on loopback and with the stock decoder, say and see.
//
//	rev N [services/a=x | -services/a | many=COUNT:KIND:BYTES]...   commit a revision
//	epoch E                                      begin another history
//	plan GROUP gen=G staged=N|head               assign a group
//	clock DURATION                               let time pass
//	NODE connects [group=G] [at=G.S.L] [version=V] [fresh] [crashed=G.S.L]
//	NODE gets G.S.L [whole] [chunks=N] [changes]  receive one move, staged and checked
//	NODE acks | refuses REASON | loses REASON     answer it
//	NODE waits                                   the control plane has nothing to say
//	NODE leaves | is gone | is sent away | is told CODE
//	NODE holds services/a=x ...                  what it runs, exactly
//	first NODE NODE ONE OTHER                    something came to one of two: they have these names too
//	heard NODE ...                               what the observer was told
//	trial DURATION                               one node of a group first; before the first rev
//	limits chunk=N large=N revisions=N           bounds; before the first rev

func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("stories found: %d, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{t: t, nodes: map[string]*teller{}, plan: map[string]assignment{}}
			sc := bufio.NewScanner(strings.NewReader(string(text)))
			for n := 1; sc.Scan(); n++ {
				line, _, _ := strings.Cut(sc.Text(), "#")
				if f := strings.Fields(line); len(f) > 0 {
					s.line = fmt.Sprintf("line %d: %s", n, sc.Text())
					s.step(f)
				}
			}
		})
	}
}

type assignment struct {
	gen    uint64
	staged uint64 // 0: head
}

type story struct {
	t      *testing.T
	line   string
	limits Limits
	canary time.Duration

	cache *Cache
	addr  string
	snap  *snapshot.Snapshot
	plan  map[string]assignment
	nodes map[string]*teller

	mu    sync.Mutex
	time  time.Time
	heard []string
	names map[int64]string
}

var rules = &snapshot.Rules{Live: func(kind string) bool { return kind == "consumers" }}

func (s *story) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s: %s", s.line, fmt.Sprintf(format, args...))
}

func (s *story) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.time
}

// open starts the control plane at its first mention.
func (s *story) open() {
	if s.cache != nil {
		return
	}
	s.time = time.Unix(1_700_000_000, 0)
	s.names = map[int64]string{}
	s.cache = New(Options{Observer: s, Now: s.now, Limits: s.limits, Canary: s.canary})
	ctx, cancel := context.WithCancel(context.Background())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := NewServer(ctx, s.cache, ServerOptions{})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	s.t.Cleanup(func() {
		for _, n := range s.nodes {
			n.leave()
		}
		cancel()
		server.Stop()
		<-done
		s.eventually("every watch to end", func() bool { return s.cache.waiting("") == 0 })
	})
}

// waiting counts the open watches of a node, or of all.
func (c *Cache) waiting(node string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for w := range c.watches {
		if node == "" || w.req.GetNode().GetId() == node {
			n++
		}
	}
	return n
}

func (s *story) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			s.fatalf("no end to waiting for %s; heard %v", what, s.heard)
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *story) step(f []string) {
	switch f[0] {
	case "limits":
		s.setLimits(f[1:])
	case "trial":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			s.fatalf("%v", err)
		}
		s.canary = d
	case "epoch":
		s.open()
		s.snap = snapshot.New(f[1], rules)
	case "rev":
		s.open()
		s.rev(f[1:])
	case "plan":
		s.open()
		s.assign(f[1:])
	case "clock":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			s.fatalf("%v", err)
		}
		s.mu.Lock()
		s.time = s.time.Add(d)
		s.mu.Unlock()
		s.cache.sweep(s.now())
	case "first":
		s.first(f[1], f[2], f[3], f[4])
	case "heard":
		want := strings.Join(f[1:], " ")
		s.eventually(want, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			i := slices.Index(s.heard, want)
			if i >= 0 {
				s.heard = s.heard[i+1:]
			}
			return i >= 0
		})
	default:
		s.open()
		s.node(f)
	}
}

// first names the one of two nodes that something came to, and the other.
func (s *story) first(a, b, one, other string) {
	x, y := s.nodes[a], s.nodes[b]
	s.eventually("a move", func() bool { return len(x.in)+len(y.in) > 0 })
	if len(x.in) == 0 {
		x, y = y, x
	}
	s.nodes[one], s.nodes[other] = x, y
}

func (s *story) setLimits(f []string) {
	for _, a := range f {
		k, v, _ := strings.Cut(a, "=")
		n := int(s.number(v))
		switch k {
		case "chunk":
			s.limits.Chunk = n
		case "large":
			s.limits.Large = n
		case "revisions":
			s.limits.Revisions = n
		default:
			s.fatalf("unknown limit")
		}
	}
}

func (s *story) number(v string) uint64 {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		s.fatalf("%v", err)
	}
	return n
}

func (s *story) rev(f []string) {
	if s.snap == nil {
		s.snap = snapshot.New("e1", rules)
	}
	rev := s.number(f[0])
	var changes []snapshot.Change
	for _, a := range f[1:] {
		if many, ok := strings.CutPrefix(a, "many="); ok {
			p := strings.Split(many, ":")
			body := []byte(strings.Repeat("x", int(s.number(p[2]))))
			for i := range s.number(p[0]) {
				changes = append(changes, snapshot.Change{Rev: rev, Kind: p[1], ID: fmt.Sprint(i), After: body})
			}
			continue
		}
		name, body, set := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		kind, id, _ := strings.Cut(name, "/")
		ch := snapshot.Change{Rev: rev, Kind: kind, ID: id, Before: []byte("?")}
		if set {
			ch.After = []byte(body)
		}
		changes = append(changes, ch)
	}
	s.snap = s.snap.Apply(rev, changes)
	s.cache.Apply(Update{Snapshots: []*snapshot.Snapshot{s.snap}, Plan: s.planned(), Keep: s.pins()})
}

func (s *story) assign(f []string) {
	a := assignment{}
	for _, x := range f[1:] {
		switch k, v, _ := strings.Cut(x, "="); {
		case k == "gen":
			a.gen = s.number(v)
		case v != "head":
			a.staged = s.number(v)
		}
	}
	s.plan[f[0]] = a
	s.cache.Apply(Update{Plan: s.planned(), Keep: s.pins()})
}

func (s *story) pins() (revs []uint64) {
	for _, a := range s.plan {
		revs = append(revs, a.staged)
	}
	return revs
}

func (s *story) planned() Plan {
	plan, head := maps.Clone(s.plan), uint64(0)
	if s.snap != nil {
		head = s.snap.Rev()
	}
	return func(group, _ string) Target {
		a, ok := plan[group]
		if !ok {
			a.gen = 1
		}
		if a.staged == 0 {
			a.staged = head
		}
		return Target{Generation: a.gen, Staged: a.staged, Live: head}
	}
}

func short(p feedv1.Pos) string {
	if p == (feedv1.Pos{}) {
		return "nothing"
	}
	return fmt.Sprintf("%d.%d.%d", p.Generation, p.Staged, p.Live)
}

func (s *story) hear(stream int64, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, s.names[stream]+" "+what)
}

func (s *story) Connected(stream int64, n Node) {
	s.mu.Lock()
	s.names[stream] = n.ID
	s.mu.Unlock()
	s.hear(stream, "connected "+n.Group+" "+n.IP)
}
func (s *story) Offered(stream int64, to feedv1.Pos)  { s.hear(stream, "offered "+short(to)) }
func (s *story) Enforced(stream int64, at feedv1.Pos) { s.hear(stream, "enforces "+short(at)) }
func (s *story) Disconnected(stream int64)            { s.hear(stream, "disconnected") }
func (s *story) Refused(stream int64, r *feedv1.Refusal, message string) {
	running, _ := feedv1.PosOf(r.GetRunning())
	refused, _ := feedv1.PosOf(r.GetRefused())
	s.hear(stream, fmt.Sprintf("refused %s running %s: %s", short(refused), short(running), message))
}

func (s *story) node(f []string) {
	n := s.nodes[f[0]]
	if n == nil {
		n = &teller{s: s, id: f[0], runs: map[string]string{}}
		s.nodes[f[0]] = n
	}
	args := f[2:]
	switch f[1] {
	case "connects":
		n.connect(args)
	case "gets":
		n.get(args)
	case "acks":
		n.ack()
	case "refuses":
		n.refuse(strings.Join(args, " "), 3)
	case "loses":
		n.refuse(strings.Join(args, " "), 15)
	case "waits":
		s.eventually("an open watch", func() bool { return s.cache.waiting(n.id) == 1 })
		select {
		case m := <-n.in:
			s.fatalf("got %v", m.SystemVersionInfo)
		default:
		}
	case "holds":
		n.holds(args)
	case "leaves":
		n.leave()
	case "is":
		if args[0] == "gone" {
			s.step([]string{"heard", n.id, "disconnected"})
			return
		}
		n.told(args[1:])
	case "says":
		n.say(args)
	default:
		s.fatalf("unknown word")
	}
}

func dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return cc
}

type deltaStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
