package fleet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

func at(rev uint64) feedv1.Pos {
	return feedv1.Pos{Epoch: "e", Generation: 1, Staged: rev, Live: rev}
}

func refused(running, rev uint64) *feedv1.Refusal {
	return &feedv1.Refusal{Running: at(running).Proto(), Refused: at(rev).Proto()}
}

// connect brings n nodes in, each by the stream of its number, running rev.
func connect(f *Fleet, n int, rev uint64) {
	for i := range int64(n) {
		f.Connected(i, Node{ID: fmt.Sprint("n", i), Group: "default"})
		f.Enforced(i, at(rev))
	}
}

// waitFor starts WaitEnforced and returns how to get its answer.
func waitFor(t *testing.T, f *Fleet, rev uint64, fraction float64) func() (int, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	answer := make(chan [2]int, 1)
	before := f.waiting()
	go func() {
		defer cancel()
		e, c := f.WaitEnforced(ctx, rev, fraction)
		answer <- [2]int{e, c}
	}()
	for f.waiting() == before && len(answer) == 0 && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond)
	}
	return func() (int, int) {
		a := <-answer
		if ctx.Err() == context.DeadlineExceeded {
			t.Errorf("WaitEnforced(%d, %v) ran into its deadline", rev, fraction)
		}
		return a[0], a[1]
	}
}

func (f *Fleet) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiters)
}

func want(t *testing.T, enforcing, connected int, answer func() (int, int)) {
	t.Helper()
	if e, c := answer(); e != enforcing || c != connected {
		t.Errorf("WaitEnforced = %d of %d, want %d of %d", e, c, enforcing, connected)
	}
}

func TestWaitEndsWhenEveryConnectedNodeEnforces(t *testing.T) {
	t.Parallel()
	f := New(nil)
	want(t, 0, 0, waitFor(t, f, 5, 1)) // nobody to wait for
	connect(f, 3, 4)
	answer := waitFor(t, f, 5, 1)
	half := waitFor(t, f, 5, 0.5)
	f.Enforced(0, at(5))
	if f.waiting() != 2 {
		t.Errorf("one of three nodes ended a wait")
	}
	f.Enforced(1, at(6))
	want(t, 2, 3, half)
	f.Disconnected(2) // the last one goes: the others are all there is
	want(t, 2, 2, answer)
	want(t, 2, 2, waitFor(t, f, 5, 1))
}

func TestWaitEndsWhenTheOthersRefused(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 2, 4)
	answer := waitFor(t, f, 5, 1)
	f.Offered(0, at(5))
	f.Refused(0, refused(4, 5), "services/a: bad")
	f.Enforced(1, at(5))
	want(t, 1, 2, answer)
	n, ok := f.Node("n0")
	if !ok || n.Running != at(4) || n.Reason != "services/a: bad" || n.Refusal == nil {
		t.Errorf("node after its refusal = %+v", n)
	}
	f.Offered(0, at(6))
	f.Enforced(0, at(6))
	if n, _ := f.Node("n0"); n.Refusal != nil || n.Running != at(6) {
		t.Errorf("node after the repair = %+v", n)
	}
}

func TestHeldNodesEnforceByTheirLiveTrack(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 1, 4)
	f.Connected(9, Node{ID: "b", Group: "blue"})
	f.Enforced(9, feedv1.Pos{Epoch: "e", Generation: 1, Staged: 2, Live: 4})
	answer := waitFor(t, f, 5, 1)
	f.Enforced(0, at(5))
	f.Enforced(9, feedv1.Pos{Epoch: "e", Generation: 1, Staged: 2, Live: 5})
	f.Follow("e", func(group, _ string) bool { return group == "blue" })
	want(t, 2, 2, answer)
	f.Connected(10, Node{ID: "b2", Group: "blue"})
	f.Enforced(10, feedv1.Pos{Epoch: "e", Generation: 1, Staged: 2, Live: 5})
	want(t, 3, 3, waitFor(t, f, 5, 1))
}

func TestRevisionsOfAnotherHistoryDoNotCount(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 2, 9)
	none := func(string, string) bool { return false }
	f.Follow("restored", none)
	answer := waitFor(t, f, 5, 1)
	for i := range int64(2) {
		f.Enforced(i, feedv1.Pos{Epoch: "restored", Generation: 1, Staged: 5, Live: 5})
	}
	want(t, 2, 2, answer)
}

func TestWaitGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 2, 4)
	f.Enforced(0, at(5))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if e, c := f.WaitEnforced(ctx, 5, 1); e != 1 || c != 2 {
		t.Errorf("WaitEnforced = %d of %d, want 1 of 2", e, c)
	}
	if f.waiting() != 0 {
		t.Error("a wait that ended is still counted")
	}
}

func TestTheNewerStreamSpeaksForANode(t *testing.T) {
	t.Parallel()
	f := New(nil)
	f.Connected(1, Node{ID: "n", Version: "1"})
	f.Connected(2, Node{ID: "n", Version: "2"})
	f.Enforced(2, at(7))
	f.Enforced(1, at(3)) // late word of the older stream
	f.Disconnected(1)
	n, _ := f.Node("n")
	if !n.Connected || n.Running != at(7) || n.Version != "2" {
		t.Errorf("node = %+v, want connected by stream 2 at 7", n)
	}
	f.Disconnected(2)
	if n, _ := f.Node("n"); n.Connected {
		t.Error("node is connected by no stream")
	}
}

func TestNodesAreBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	f := New(func() time.Time { now = now.Add(time.Second); return now })
	for i := range int64(maxNodes + 5) {
		f.Connected(i, Node{ID: fmt.Sprint(i)})
		if i < 10 {
			f.Disconnected(i)
		}
	}
	if got := len(f.Nodes()); got != maxNodes {
		t.Errorf("nodes remembered = %d, want %d", got, maxNodes)
	}
	if _, ok := f.Node("0"); ok {
		t.Error("the node that was gone the longest is remembered")
	}
	f.Forget(now)
	if got := len(f.Nodes()); got != maxNodes-5 {
		t.Errorf("nodes after Forget = %d, want the %d connected", got, maxNodes-5)
	}
}

func TestWatchSeesEveryNodeAsItIs(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 2, 1)
	w := f.Watch()
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if all, err := w.Next(ctx); err != nil || len(all) != 2 || all[0].ID != "n0" {
		t.Fatalf("Next = %v, %v, want n0 and n1", all, err)
	}
	f.Enforced(1, at(2))
	f.Enforced(1, at(3))
	if all, err := w.Next(ctx); err != nil || len(all) != 1 || all[0].Running != at(3) {
		t.Errorf("Next = %v, %v, want n1 at 3 once", all, err)
	}
	gone, stop := context.WithCancel(ctx)
	stop()
	if _, err := w.Next(gone); err == nil {
		t.Error("Next returns without a change")
	}
}

func TestReportsAreChecked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	f := New(func() time.Time { return now })
	if err := f.report(&feedv1.ReportRequest{NodeId: "n0"}); err == nil {
		t.Error("a report of an unknown node is taken")
	}
	connect(f, 1, 4)
	if err := f.report(&feedv1.ReportRequest{NodeId: "n0", Stats: make([]*feedv1.RevisionStats, maxStats+1)}); err == nil {
		t.Error("a report without bounds is taken")
	}
	err := f.report(&feedv1.ReportRequest{NodeId: "n0", Hostname: "h", Window: 3, SnapshotOnDisk: true, Running: at(99).Proto()})
	n, _ := f.Node("n0")
	if err != nil || n.Hostname != "h" || n.Window != 3 || !n.SnapshotOnDisk || n.Running != at(4) {
		t.Errorf("node after its report = %+v, %v", n, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 8, 1)
	var wg sync.WaitGroup
	for i := range int64(8) {
		wg.Go(func() {
			for rev := uint64(2); rev < 100; rev++ {
				f.Offered(i, at(rev))
				f.Enforced(i, at(rev))
				f.Nodes()
			}
		})
	}
	for rev := uint64(2); rev < 100; rev += 7 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if e, c := f.WaitEnforced(ctx, rev, 1); e != 8 || c != 8 {
				t.Errorf("WaitEnforced(%d) = %d of %d, want 8 of 8", rev, e, c)
			}
		})
	}
	wg.Wait()
}

func TestReportsArriveOverTheWire(t *testing.T) {
	t.Parallel()
	f := New(nil)
	connect(f, 1, 4)
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	feedv1.RegisterNodeServiceServer(server, NewReports(t.Context(), f, nil))
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close(); server.Stop(); <-served }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := feedv1.NewNodeServiceClient(conn).Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Recv(); err != nil || r.GetReportEveryMs() != 10_000 {
		t.Fatalf("first directive = %v, %v, want an interval", r, err)
	}
	w := f.Watch()
	defer w.Close()
	if _, err := w.Next(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&feedv1.ReportRequest{NodeId: "n0", Window: 1, SnapshotOnDisk: true}); err != nil {
		t.Fatal(err)
	}
	if all, err := w.Next(ctx); err != nil || len(all) != 1 || !all[0].SnapshotOnDisk {
		t.Errorf("after a report the fleet shows %v, %v", all, err)
	}
	if err := s.Send(&feedv1.ReportRequest{NodeId: "n1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream that changes its node ends with %v, want InvalidArgument", err)
	}
}
