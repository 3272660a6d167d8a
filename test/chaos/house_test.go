package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/guard"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
	"github.com/sekifuda/sekifuda/test/stack"
)

// house is replicas of the control plane on one PostgreSQL, with what nodes saw and clients wrote.
type house struct {
	*testing.T
	db        string
	replicas  []*stack.Process
	desks     []desk
	witnesses []*witness

	mu   sync.Mutex
	seen []Sighting
}

// desk is the operator's API of one replica.
type desk struct {
	config  controlv1.ConfigServiceClient
	fleet   controlv1.FleetServiceClient
	rollout controlv1.RolloutServiceClient
}

// open starts replicas on databases: one on each URL, which lead to the same PostgreSQL.
func open(t *testing.T, databases ...string) *house {
	t.Helper()
	h := &house{T: t, db: databases[0]}
	for _, db := range databases {
		h.add(stack.StartReplica(t, db))
	}
	for _, p := range h.replicas {
		p.WaitReady()
	}
	return h
}

func (h *house) add(p *stack.Process) {
	h.Helper()
	h.replicas, h.desks = append(h.replicas, p), append(h.desks, newDesk(h.T, p))
}

func newDesk(t *testing.T, p *stack.Process) desk {
	t.Helper()
	conn, err := grpc.NewClient(p.Addr("admin gRPC"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(128<<20), grpc.MaxCallRecvMsgSize(128<<20)),
		// A replica that was killed comes back within moments.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second, Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return desk{controlv1.NewConfigServiceClient(conn), controlv1.NewFleetServiceClient(conn), controlv1.NewRolloutServiceClient(conn)}
}

// feeds are the replicas' addresses for nodes, from the i-th on.
func (h *house) feeds(i int) (addrs []string) {
	for k := range h.replicas {
		addrs = append(addrs, h.replicas[(i+k)%len(h.replicas)].Addr("feed"))
	}
	return addrs
}

// relay stands before the replicas: nodes that come by it are at the i-th, or at the next alive.
func (h *house) relay(i int) *stack.Relay {
	h.Helper()
	return stack.NewRelay(h, h.feeds(i)...)
}

func (h *house) saw(node string, at feedv1.Pos) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, Sighting{node, at})
}

// put writes by a replica's REST API.
func (h *house) put(replica int, path, body string) {
	h.Helper()
	url := h.replicas[replica].URLs["admin"] + path
	if code, out, err := stack.Try(http.MethodPut, url, body); err != nil || code != http.StatusOK {
		h.Fatalf("PUT %s %s: %d %s %v", url, body, code, out, err)
	}
}

// route puts a route of a service whose upstream answers "served".
func (h *house) route(replica int, name string) {
	h.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") }))
	h.Cleanup(up.Close)
	h.put(replica, "/services/up-"+name, `{"url":"`+up.URL+`"}`)
	h.put(replica, "/services/up-"+name+"/routes/"+name, `{"paths":["/`+name+`"]}`)
}

// status is the installation as a replica tells it.
func (h *house) status(replica int) *controlv1.StatusResponse {
	h.Helper()
	res, err := h.desks[replica].fleet.Status(h.Context(), &controlv1.StatusRequest{})
	if err != nil {
		h.Fatal(err)
	}
	return res
}

// node is a node as the replicas see it: connected to one of them, or an error.
func (h *house) node(id string) (*controlv1.Node, feedv1.Pos, error) {
	ctx, cancel := context.WithTimeout(h.Context(), 5*time.Second)
	defer cancel()
	for _, d := range h.desks {
		res, err := d.fleet.ListNodes(ctx, &controlv1.ListNodesRequest{})
		if err != nil {
			continue // it is dead, and the node elsewhere
		}
		for _, n := range res.GetNodes() {
			if n.GetId() == id && n.GetConnected() {
				at, err := feedv1.PosOf(n.GetRunning())
				return n, at, err
			}
		}
	}
	return nil, feedv1.Pos{}, fmt.Errorf("node %s is connected to no replica", id)
}

// converge waits until the witnesses and the nodes named enforce head.
func (h *house) converge(nodes ...string) {
	h.Helper()
	head := h.sqlHead()
	for _, w := range h.witnesses {
		w.reach(head)
	}
	for _, id := range nodes {
		var at feedv1.Pos
		stack.Eventually(h, func() (err error) {
			if _, at, err = h.node(id); err == nil && (at.Staged != head || at.Live != head) {
				err = fmt.Errorf("node %s is at %v, head is %d", id, at, head)
			}
			return err
		})
		h.saw(id, at)
	}
}

// query reads the database itself: what the product says of it is not taken for granted.
func (h *house) query(sql string, scan func(pgx.Rows) error) {
	h.Helper()
	stack.Eventually(h, func() error {
		ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, h.db)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func (h *house) sqlHead() (rev uint64) {
	h.Helper()
	h.query(`SELECT rev FROM head`, func(r pgx.Rows) error { return r.Scan(&rev) })
	return rev
}

// history is what happened, with the database as it is now.
func (h *history) of(x *house) *History {
	x.Helper()
	out := &History{Writes: h.writes, Entities: map[string]uint64{}}
	x.query(`SELECT rev, coalesce(request_id, '') FROM revision ORDER BY rev`, func(rows pgx.Rows) error {
		var rev uint64
		var request []byte
		err := rows.Scan(&rev, &request)
		out.Revisions = append(out.Revisions, Revision{rev, string(request)})
		return err
	})
	x.query(`SELECT seq, body FROM audit ORDER BY seq`, func(rows pgx.Rows) error {
		var e Entry
		var body []byte
		if err := rows.Scan(&e.Seq, &body); err != nil {
			return err
		}
		v := &controlv1.AuditEvent{}
		err := proto.Unmarshal(body, v)
		if e.Rev = v.GetRevision(); v.GetResult() == guard.Committed && e.Rev > 0 {
			out.Entries = append(out.Entries, e)
		}
		return err
	})
	x.query(`SELECT id, rev FROM object WHERE kind = 'services'`, func(rows pgx.Rows) error {
		var id string
		var rev uint64
		err := rows.Scan(&id, &rev)
		out.Entities[id] = rev
		return err
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	out.Seen = append(out.Seen, x.seen...)
	return out
}

// holds checks that nothing of what must never happen did.
func (h *history) holds(x *house) *History {
	x.Helper()
	out := h.of(x)
	for i, f := range out.Faults() {
		if i == 20 {
			x.Fatal("and more")
		}
		x.Error(f)
	}
	return out
}

// logHas reports whether a process' log has words.
func logHas(p *stack.Process, words string) bool {
	raw, err := os.ReadFile(p.Log)
	return err == nil && strings.Contains(string(raw), words)
}

// says waits until a process' log has words.
func says(t *testing.T, p *stack.Process, words string) {
	t.Helper()
	stack.Eventually(t, func() error {
		if !logHas(p, words) {
			return errors.New("its log does not say " + words)
		}
		return nil
	})
}
