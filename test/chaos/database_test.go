package chaos

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestDatabaseRestarts restarts PostgreSQL by -m immediate under writers at two replicas.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	longRow(t)
	pg := services.NewPostgres(t)
	h := open(t, pg.URL, pg.URL)
	for i := range h.replicas {
		h.witness(fmt.Sprint("w", i), "default", h.relay(i).Addr)
	}
	w := h.write(8)
	for range 3 {
		w.more(200)
		pg.Abort(t)
		pg.Start(t)
	}
	w.more(200)
	w.stop()
	h.converge()
	w.holds(h)
	for _, n := range h.witnesses {
		if full := n.fulls.Load(); full != 1 {
			t.Errorf("node %s was sent everything %d times: an outage of the database resynced it", n.id, full)
		}
	}
	t.Logf("%d writes acknowledged over 3 restarts", w.count.Load())
}

// TestAnnouncementsDropped has a replica that is never told of a commit: its poll finds them.
func TestAnnouncementsDropped(t *testing.T) {
	t.Parallel()
	row(t)
	db := services.Postgres(t)
	relay := stack.NewRelay(t, db)
	var dropped atomic.Int64
	relay.Reply(func(to io.Writer, from io.Reader) { withoutAnnouncements(to, from, &dropped) })
	h := open(t, db, relay.URL(t, db))
	deaf := h.witness("deaf", "default", h.replicas[1].Addr("feed"))
	deaf.reach(h.sqlHead())
	var slowest time.Duration
	for i := range 10 {
		begin := time.Now()
		rev := h.must(0, service(fmt.Sprintf("00000000-0000-4000-8000-%012x", i), ""))
		deaf.reach(rev)
		slowest = max(slowest, time.Since(begin))
	}
	if dropped.Load() == 0 {
		t.Error("no announcement was dropped: this shows nothing")
	}
	t.Logf("%d announcements dropped; the slowest of 10 commits was enforced after %v", dropped.Load(), slowest.Round(time.Millisecond))
}

// withoutAnnouncements copies what PostgreSQL says, but for NotificationResponse ('A'). A message
// is a byte of kind and a length that counts itself.
func withoutAnnouncements(to io.Writer, from io.Reader, dropped *atomic.Int64) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		var out io.Writer = to
		if head[0] == 'A' {
			out = io.Discard
			dropped.Add(1)
		}
		if _, err := out.Write(head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(out, from, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return
		}
	}
}

// TestOlderDumpRestored loads an older dump under two running replicas. The loss is told, the
// history gets another epoch, and nodes are brought to what the database has.
func TestOlderDumpRestored(t *testing.T) {
	t.Parallel()
	longRow(t)
	if services.PostgresPath() == "" {
		notHere(t, "pg_dump is not installed")
	}
	pg := services.NewPostgres(t)
	h := open(t, pg.URL, pg.URL)
	for i := range h.replicas {
		h.witness(fmt.Sprint("w", i), "default", h.relay(i).Addr)
	}
	node := stack.StartNode(t, h.relay(0).Addr, "default", "n")
	h.route(0, "kept")
	tools := []string{"PATH=" + services.PostgresPath() + ":/usr/bin:/bin", "DB=" + pg.URL, "DUMP=" + filepath.Join(t.TempDir(), "dump")}
	psql := func(line string) {
		t.Helper()
		if out, code := stack.Shell(t, tools, line); code != 0 {
			t.Fatalf("%s: %s", line, out)
		}
	}
	w := h.write(2)
	w.more(20)
	w.stop()
	psql(`pg_dump --clean --if-exists --file "$DUMP" "$DB"`)
	old := h.sqlHead()
	h.route(1, "lost")
	after := h.write(0) // no writer of its own: what follows is told to it
	for i := range 20 {
		after.insist(9, i)
	}
	h.converge("n")
	node.Answers("/lost", 200, "served")
	before := h.status(0).GetEpoch()
	lost := h.sqlHead()

	psql(`psql --quiet --single-transaction --set ON_ERROR_STOP=1 --file "$DUMP" "$DB"`)
	node.Answers("/lost", 404, "no Route matched")
	node.Answers("/kept", 200, "served")
	if head := h.sqlHead(); head != old {
		t.Fatalf("head is %d after the dump of revision %d was loaded", head, old)
	}
	h.otherEpoch(before, old)
	h.toldOf(lost)
	h.converge("n")
	if faults := w.holds(h); len(faults.Lost()) != 0 {
		t.Error("writes from before the dump were lost")
	}
	if faults := after.of(h).Lost(); len(faults) != 20 {
		t.Errorf("the checker finds %d of 20 lost writes: %s", len(faults), strings.Join(faults, "; "))
	}

	// The new history goes on.
	next := h.write(2)
	next.more(20)
	next.stop()
	h.converge("n")
	next.holds(h)
}

// otherEpoch waits until all replicas follow the same history, another one than before, and have
// a revision of it.
func (h *house) otherEpoch(before string, rev uint64) {
	h.Helper()
	first := ""
	for i := range h.replicas {
		var s *controlv1.StatusResponse
		stack.Eventually(h, func() error {
			if s = h.status(i); s.GetEpoch() == before || s.GetHead() != rev {
				return fmt.Errorf("replica %d is at revision %d of history %s, want %d of another one", i, s.GetHead(), s.GetEpoch(), rev)
			}
			return nil
		})
		if first = cmp.Or(first, s.GetEpoch()); first != s.GetEpoch() {
			h.Errorf("replicas follow histories %s and %s", first, s.GetEpoch())
		}
	}
}

// toldOf checks that a replica said that a revision was lost.
func (h *house) toldOf(lost uint64) {
	h.Helper()
	if !slices.ContainsFunc(h.replicas, func(p *stack.Process) bool {
		return logHas(p, "commits were lost") && logHas(p, fmt.Sprintf("had=%d", lost))
	}) {
		h.Errorf("no replica tells that revision %d was lost", lost)
	}
}

// TestStandbyPromoted loses PostgreSQL to a standby that had not everything: what was not copied
// is lost, and that is found, told and mended at the nodes; nothing else is lost.
func TestStandbyPromoted(t *testing.T) { promoted(t, 0) }

// TestStandbyOvertakes is the same, where the standby has more revisions than were lost by the
// time the replicas look: the numbers go on, and mean something else.
func TestStandbyOvertakes(t *testing.T) { promoted(t, 30) }

func promoted(t *testing.T, overtaking int) {
	t.Parallel()
	longRow(t)
	primary := services.NewPostgres(t)
	wire, front := stack.NewRelay(t, primary.URL), stack.NewRelay(t, primary.URL)
	standby := primary.Standby(t, wire.Addr)
	db := front.URL(t, primary.URL)
	h := open(t, db, db)
	for i := range h.replicas {
		h.witness(fmt.Sprint("w", i), "default", h.relay(i).Addr)
	}
	w := h.write(4)
	w.more(100)
	w.stop()
	old, copied := h.sqlHead(), &house{T: t, db: standby.URL}
	stack.Eventually(t, func() error {
		if at := copied.sqlHead(); at != old {
			return fmt.Errorf("the standby is at revision %d of %d", at, old)
		}
		return nil
	})
	wire.HoldAll()
	after := h.write(0)
	for i := range 10 {
		after.insist(9, i)
	}
	h.converge()
	before, lost := h.status(0).GetEpoch(), h.sqlHead()

	front.HoldAll() // nobody hears of the end
	primary.Kill(t)
	standby.Promote(t)
	h.add(stack.StartReplica(t, standby.URL))
	h.replicas[2].WaitReady()
	first := h.write(0)
	for i := range overtaking {
		first.insist(8, i) // at the replica that knows of nothing else
	}
	front.To(standby.URL)
	front.Cut()
	front.Release()
	h.otherEpoch(before, old+uint64(overtaking))
	h.toldOf(lost)
	h.converge()
	w.holds(h)
	first.holds(h)
	if faults := after.of(h).Lost(); len(faults) != 10 {
		t.Errorf("the checker finds %d of 10 lost writes: %s", len(faults), strings.Join(faults, "; "))
	}
	next := h.write(2)
	next.more(50)
	next.stop()
	h.converge()
	next.holds(h)
}
