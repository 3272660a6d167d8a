package feed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// A story is a text file of testdata/stories: a control plane, played by the story over real
// gRPC on loopback, and a node with its disk and its applier.
//
//	boots at G.S.L|nothing                the node starts and serves from its disk
//	connects fresh|at=G.S.L [crashed=G.S.L]...
//	sends G.S.L [whole] [lie] changes [/ changes]...   one move; "/" begins a chunk
//	sends raw VERSION                     a response with this version alone
//	acks | refuses CODE TEXT              the node's answer to the last chunk
//	applies G.S.L full|diff changes       what the applier was handed
//	applier refuses OBJECT REASON | applier panics     the next time
//	runs changes                          what the node holds, exactly
//	stores G.S.L                          the position is on disk
//	survives                              two seconds pass since the swap
//	dies | ends                           the process ends, at once or in order
//	drops | hears nothing more            the stream ends, by us or by the node
//	upgrades VERSION                      the next boot is another build
//	joins GROUP                           the next boot is in another group

func TestStories(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(paths) < 7 {
		t.Fatalf("stories found: %d, %v", len(paths), err)
	}
	for _, p := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(p), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			s := newStory(t)
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

type story struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	t     *testing.T
	line  string
	dir   string
	build string
	group string
	clock *fakeClock
	conn  *grpc.ClientConn
	opens chan *played // streams that nodes opened

	client *Client
	life   int // of the node, in its host's name: a stream of a former one may come late
	stop   func()
	stream *played
	nonce  int
	means  map[string]string // what the control plane wants the node to hold
	seen   map[string]Pos

	mu      sync.Mutex
	refuse  error
	panics  bool
	applied chan Move
}

// played is one stream, its requests as they come.
type played struct {
	s    discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	in   chan *discovery.DeltaDiscoveryRequest
	end  chan struct{} // closed to end the stream from here
	once sync.Once
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{
		t: t, dir: filepath.Join(t.TempDir(), "data"), build: "1", group: "g", clock: newFakeClock(), opens: make(chan *played, 4),
		means: map[string]string{}, seen: map[string]Pos{}, applied: make(chan Move, 64),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	if s.conn, err = Dial("passthrough:///"+l.Addr().String(), insecure.NewCredentials()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
		s.conn.Close()
		server.Stop()
		<-done
	})
	return s
}

func (s *story) DeltaAggregatedResources(str discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	p := &played{s: str, in: make(chan *discovery.DeltaDiscoveryRequest, 1), end: make(chan struct{})}
	go func() {
		defer close(p.in)
		for {
			q, err := str.Recv()
			if err != nil {
				return
			}
			select {
			case p.in <- q:
			case <-str.Context().Done():
				return
			}
		}
	}()
	select {
	case s.opens <- p:
	case <-str.Context().Done():
		return nil
	}
	select {
	case <-p.end:
		return status.Error(codes.Unavailable, "dropped")
	case <-str.Context().Done():
		return nil
	}
}

func (s *story) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s: %s", s.line, fmt.Sprintf(format, args...))
}

func (s *story) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.fatalf("no end to waiting for %s", what)
		}
	}
}

func (s *story) step(f []string) {
	args := f[1:]
	switch f[0] {
	case "boots":
		s.boot(args[len(args)-1])
	case "upgrades":
		s.build = args[0]
	case "joins":
		s.group = args[0]
	case "connects":
		s.connect(args)
	case "sends":
		s.send(args)
	case "acks":
		if q := s.answer(); q.GetErrorDetail() != nil {
			s.fatalf("node refuses: %v", q.GetErrorDetail())
		}
	case "refuses":
		s.refused(args[0], strings.Join(args[1:], " "))
	case "applier":
		s.prepare(args)
	case "applies":
		s.applies(args)
	case "runs":
		s.runs(args)
	case "stores":
		s.eventually("the disk", func() bool {
			at, err := s.client.disk.state()
			return err == nil && short(at) == args[0]
		})
	case "survives":
		s.eventually("the mark to go", func() bool {
			s.clock.advance(settleFor)
			s.client.guard.mu.Lock()
			defer s.client.guard.mu.Unlock()
			return s.client.guard.applying == Pos{}
		})
	case "dies":
		s.die()
	case "ends":
		s.stop()
		s.stop = nil
	case "drops":
		s.stream.once.Do(func() { close(s.stream.end) })
	case "hears":
		select {
		case q, ok := <-s.stream.in:
			if ok {
				s.fatalf("node says %v", q)
			}
		case <-time.After(10 * time.Second):
			s.fatalf("stream goes on")
		}
	default:
		s.fatalf("unknown word")
	}
}

// die ends the node as a crash would: with the mark that an orderly end clears.
func (s *story) die() {
	path := filepath.Join(s.dir, "applying")
	mark, err := os.ReadFile(path)
	s.stop()
	s.stop = nil
	if err == nil {
		err = os.WriteFile(path, mark, 0o600)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		s.fatalf("%v", err)
	}
}

func (s *story) boot(want string) {
	s.life++
	c, err := New(Options{
		Conn: s.conn, Applier: s, NodeID: "n1", Group: s.group, Version: s.build, Hostname: fmt.Sprint("h", s.life),
		Labels: map[string]string{"zone": "a"}, Dir: s.dir, Clock: s.clock,
	})
	if err != nil {
		s.fatalf("%v", err)
	}
	c.pause = func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) }
	at, _ := c.Boot(context.Background())
	if got := short(at); got != want {
		s.fatalf("node stands at %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	s.client = c
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run = %v", err)
		}
	}
}

func short(p Pos) string {
	if p == (Pos{}) {
		return "nothing"
	}
	return fmt.Sprintf("%d.%d.%d", p.Generation, p.Staged, p.Live)
}

func (s *story) connect(args []string) {
	q := s.opened()
	n := q.GetNode()
	if n.GetId() != "n1" || n.GetCluster() != s.group || n.GetUserAgentVersion() != s.build ||
		n.GetMetadata().GetFields()["labels"].GetStructValue().GetFields()["zone"].GetStringValue() != "a" {
		s.fatalf("node introduces itself as %v", n)
	}
	if want := []string{"*"}; !slices.Equal(q.GetResourceNamesSubscribe(), want) {
		s.fatalf("subscribes to %v", q.GetResourceNamesSubscribe())
	}
	got := []string{"fresh"}
	if v, ok := q.GetInitialResourceVersions()[feedv1.PosResource]; ok {
		at, err := feedv1.ParsePos(v)
		if err != nil {
			s.fatalf("%v", err)
		}
		got = []string{"at=" + short(at)}
	}
	for _, r := range s.refusals(q) {
		at, _ := feedv1.PosOf(r.GetRefused())
		if !r.GetCrashed() {
			s.fatalf("refuses %v without a crash", at)
		}
		got = append(got, "crashed="+short(at))
	}
	if !slices.Equal(got, args) {
		s.fatalf("node connects %v", got)
	}
	s.eventually("the status", func() bool { return s.client.Status().Connected })
}

// opened returns the first request of the stream that this life of the node opened.
func (s *story) opened() *discovery.DeltaDiscoveryRequest {
	for deadline := time.After(10 * time.Second); ; {
		select {
		case s.stream = <-s.opens:
		case <-deadline:
			s.fatalf("node does not connect")
		}
		q, ok := <-s.stream.in
		if ok && q.GetNode().GetMetadata().GetFields()["hostname"].GetStringValue() == fmt.Sprint("h", s.life) {
			return q
		}
	}
}

func (s *story) request() *discovery.DeltaDiscoveryRequest {
	select {
	case q, ok := <-s.stream.in:
		if !ok {
			s.fatalf("node left")
		}
		return q
	case <-time.After(10 * time.Second):
		s.fatalf("node says nothing")
		return nil
	}
}

func (s *story) refusals(q *discovery.DeltaDiscoveryRequest) (all []*feedv1.Refusal) {
	for _, d := range q.GetErrorDetail().GetDetails() {
		r := new(feedv1.Refusal)
		if err := d.UnmarshalTo(r); err != nil {
			s.fatalf("%v", err)
		}
		all = append(all, r)
	}
	return all
}

// send sends one move, all chunks but the last of which it sees acknowledged.
func (s *story) send(args []string) {
	if args[0] == "raw" {
		s.write(&discovery.DeltaDiscoveryResponse{SystemVersionInfo: args[1]})
		return
	}
	var chunks []*discovery.DeltaDiscoveryResponse
	next := &discovery.DeltaDiscoveryResponse{}
	lie := false
	rev := args[0][strings.LastIndex(args[0], ".")+1:]
	for _, a := range args[1:] {
		switch a {
		case "whole":
			next.RemovedResources = append(next.RemovedResources, feedv1.Everything)
			s.means = map[string]string{}
		case "lie":
			lie = true
		case "/":
			chunks = append(chunks, next)
			next = &discovery.DeltaDiscoveryResponse{}
		default:
			s.change(next, a, rev)
		}
	}
	chunks = append(chunks, next)
	to := Pos{Epoch: "e1"}
	if _, err := fmt.Sscanf(args[0], "%d.%d.%d", &to.Generation, &to.Staged, &to.Live); err != nil {
		s.fatalf("%v", err)
	}
	for name, body := range s.means {
		to.Hash = to.Hash.Plus(feedv1.Leaf(name, []byte(body)))
	}
	if lie {
		to.Hash[0]++
	}
	for i, m := range chunks {
		m.SystemVersionInfo = feedv1.Version{To: to, Chunk: i, Chunks: len(chunks)}.String()
		s.write(m)
		if i < len(chunks)-1 {
			if q := s.answer(); q.GetErrorDetail() != nil {
				s.fatalf("node refuses chunk %d: %v", i, q.GetErrorDetail())
			}
		}
	}
}

func (s *story) change(m *discovery.DeltaDiscoveryResponse, a, rev string) {
	if name, ok := strings.CutPrefix(a, "-"); ok {
		m.RemovedResources = append(m.RemovedResources, name)
		delete(s.means, name)
		return
	}
	name, body, _ := strings.Cut(a, "=")
	kind, id, _ := strings.Cut(name, "/")
	n, err := strconv.ParseUint(rev, 10, 64)
	if err != nil {
		s.fatalf("%v", err)
	}
	v, err := anypb.New(&feedv1.Entry{Kind: kind, Id: id, Rev: n, Body: []byte(body)})
	if err != nil {
		s.fatalf("%v", err)
	}
	m.Resources = append(m.Resources, &discovery.Resource{Name: name, Resource: v})
	s.means[name] = body
}

func (s *story) write(m *discovery.DeltaDiscoveryResponse) {
	s.nonce++
	m.TypeUrl, m.Nonce = feedv1.EntryType, strconv.Itoa(s.nonce)
	if err := s.stream.s.Send(m); err != nil {
		s.fatalf("%v", err)
	}
}

func (s *story) answer() *discovery.DeltaDiscoveryRequest {
	q := s.request()
	if q.GetResponseNonce() != strconv.Itoa(s.nonce) {
		s.fatalf("node answers %q", q.GetResponseNonce())
	}
	return q
}

func (s *story) refused(code, text string) {
	q := s.answer()
	if got := codes.Code(q.GetErrorDetail().GetCode()).String(); got != code || !strings.Contains(q.GetErrorDetail().GetMessage(), text) {
		s.fatalf("node answers %v %q", got, q.GetErrorDetail().GetMessage())
	}
	all := s.refusals(q)
	if len(all) != 1 || len(all[0].GetViolations()) == 0 {
		s.fatalf("node refuses with %v", all)
	}
	running, err := feedv1.PosOf(all[0].GetRunning())
	if err != nil || running != s.client.running() {
		s.fatalf("node says that it runs %v, %v; it runs %v", running, err, s.client.running())
	}
	if s.client.Status().Refusal == nil {
		s.fatalf("the refusal is not in the status")
	}
}

func (s *story) prepare(args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if args[0] == "panics" {
		s.panics = true
		return
	}
	s.refuse = &Refused{Violations: []Violation{{Object: args[1], Field: "f", Reason: strings.Join(args[2:], " ")}}}
}

// Apply is the story's applier.
func (s *story) Apply(_ context.Context, m Move) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panics {
		s.panics = false
		panic("nil graph")
	}
	err := s.refuse
	s.refuse = nil
	if err == nil {
		s.applied <- m
	}
	return err
}

func (s *story) applies(args []string) {
	var m Move
	select {
	case m = <-s.applied:
	case <-time.After(10 * time.Second):
		s.fatalf("nothing is applied")
	}
	got := []string{short(m.To), "diff"}
	if m.Full {
		got[1] = "full"
	}
	var changes []string
	for _, c := range m.Changes {
		if c.Body == nil {
			changes = append(changes, "-"+c.name())
		} else {
			changes = append(changes, c.name()+"="+string(c.Body))
		}
	}
	slices.Sort(changes)
	want := slices.Clone(args)
	slices.Sort(want[2:])
	if got = append(got, changes...); !slices.Equal(got, want) {
		s.fatalf("applier is handed %v", got)
	}
}

func (s *story) runs(args []string) {
	want := map[string]string{}
	for _, a := range args {
		name, body, _ := strings.Cut(a, "=")
		want[name] = body
	}
	if got := s.client.holds(); !maps.Equal(got, want) {
		s.fatalf("node holds %v", got)
	}
}

func (c *Client) holds() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set.plain()
}

func (s *set) plain() map[string]string {
	m := map[string]string{}
	for name, e := range s.entries {
		m[name] = string(e.body)
	}
	return m
}

// fakeClock stands still until it is told otherwise.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[chan time.Time]time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Unix(1_700_000_000, 0), timers: map[chan time.Time]time.Time{}}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.timers[ch] = c.now.Add(d)
	return ch
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for ch, at := range c.timers {
		if !at.After(c.now) {
			ch <- c.now
			delete(c.timers, ch)
		}
	}
}
