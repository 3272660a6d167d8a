package feed

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// listener takes reports and asks for one interval.
type listener struct {
	feedv1.UnimplementedNodeServiceServer
	every uint32
	got   chan *feedv1.ReportRequest
	ask   []*feedv1.Question // at once
}

func (l *listener) Report(s feedv1.NodeService_ReportServer) error {
	if err := s.Send(&feedv1.ReportResponse{Directive: &feedv1.ReportResponse_ReportEveryMs{ReportEveryMs: l.every}}); err != nil {
		return err
	}
	for _, q := range l.ask {
		if err := s.Send(&feedv1.ReportResponse{Directive: &feedv1.ReportResponse_Question{Question: q}}); err != nil {
			return err
		}
	}
	for {
		q, err := s.Recv()
		if err != nil {
			return err
		}
		select {
		case l.got <- q:
		case <-s.Context().Done():
			return nil
		}
	}
}

// serve serves the reports until the test ends.
func (l *listener) serve(t *testing.T) *grpc.ClientConn {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	feedv1.RegisterNodeServiceServer(server, l)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(tcp) }()
	conn, err := Dial("passthrough:///"+tcp.Addr().String(), insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); server.Stop(); <-served })
	return conn
}

// TestQuestionsAreAnsweredBesideTheWindows lets no time pass: answers wait for no report.
func TestQuestionsAreAnsweredBesideTheWindows(t *testing.T) {
	t.Parallel()
	office := &listener{every: 3000, got: make(chan *feedv1.ReportRequest), ask: []*feedv1.Question{
		{Id: 7, Ask: &feedv1.Question_TargetsOf{TargetsOf: "u"}}, {Id: 8, Ask: &feedv1.Question_TargetsOf{TargetsOf: "v"}},
	}}
	c, err := New(Options{
		Conn: office.serve(t), Applier: applierFunc(yes), NodeID: "n1", Version: "v", Clock: newFakeClock(),
		Answer: func(_ context.Context, q *feedv1.Question) *feedv1.Answer {
			return &feedv1.Answer{Known: q.GetTargetsOf() == "u"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.retry(ctx, "reports", c.report) }()
	defer func() { cancel(); <-ended }()
	for i, want := range []bool{true, false} {
		select {
		case q := <-office.got:
			if a := q.GetAnswer(); a.GetQuestion() != uint64(7+i) || a.GetKnown() != want || q.GetNodeId() != "n1" || q.GetWindow() != 0 {
				t.Errorf("answer = %v", q)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no answer comes")
		}
	}
}

func TestReportsFollowTheAskedInterval(t *testing.T) {
	t.Parallel()
	office := &listener{every: 3000, got: make(chan *feedv1.ReportRequest)}
	conn := office.serve(t)
	clock, asked := newFakeClock(), make(chan uint32, 8)
	c, err := New(Options{
		Conn: conn, Applier: applierFunc(yes), NodeID: "n1", Version: "v", Hostname: "h", Clock: clock,
		Stats:  func() []*feedv1.RevisionStats { return []*feedv1.RevisionStats{{Rev: 7, Requests: 9}} },
		Direct: func(r *feedv1.ReportResponse) { asked <- r.GetReportEveryMs() },
	})
	if err != nil {
		t.Fatal(err)
	}
	step(c, Change{Kind: "k", ID: "1", Body: []byte("x")})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.retry(ctx, "reports", c.report) }()
	defer func() { cancel(); <-ended }()

	if got := <-asked; got != 3000 {
		t.Fatalf("node is asked for %d ms", got)
	}
	var last time.Time
	for window := uint64(1); window <= 3; window++ {
		q := nextReport(t, office, clock)
		if q.GetWindow() != window || q.GetNodeId() != "n1" || q.GetHostname() != "h" || q.GetRunning().GetStagedRev() != 1 ||
			len(q.GetStats()) != 1 || q.GetStats()[0].GetRequests() != 9 || q.GetSnapshotOnDisk() {
			t.Errorf("report = %v", q)
		}
		// The first window was begun before the answer came; the others are as asked for.
		if at := q.GetNodeTime().AsTime(); window > 1 && at.Sub(last) > 4*time.Second {
			t.Errorf("window %d took %v, asked for 3s", window, at.Sub(last))
		} else {
			last = at
		}
	}
}

// nextReport lets time pass, a second at a time, until a report comes.
func nextReport(t *testing.T, l *listener, clock *fakeClock) *feedv1.ReportRequest {
	t.Helper()
	for range 2000 {
		select {
		case q := <-l.got:
			return q
		case <-time.After(5 * time.Millisecond):
			clock.advanceIfAwaited(time.Second)
		}
	}
	t.Fatal("no report comes")
	return nil
}

// advanceIfAwaited advances only when somebody waits, so that no time is lost between waits.
func (c *fakeClock) advanceIfAwaited(d time.Duration) {
	c.mu.Lock()
	n := len(c.timers)
	c.mu.Unlock()
	if n > 0 {
		c.advance(d)
	}
}
