package guard

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

func change(id string) store.Commit {
	return store.Commit{Ops: []store.Op{{Object: store.Object{Kind: "services", ID: id, Body: []byte("b")}}}, Actor: "somebody", Message: "why not"}
}

// TestNoted follows calls through a guard into a store: what each leaves in the log, and that
// nothing is there twice.
func TestNoted(t *testing.T) {
	t.Parallel()
	raw, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	st := NewNoted(raw, time.Now)
	tokens, err := ParseTokens([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	g := New(Options{Tokens: tokens, Log: NewAudit(raw, time.Now)})
	rest := func(do func(context.Context) int) func() {
		return func() {
			r := httptest.NewRequest(http.MethodPut, "/services/a", nil)
			r.Header.Set("Kong-Admin-Token", "token-of-bob-0123456789")
			r.Header.Set("Sekifuda-Reason", "because")
			g.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(do(r.Context())) })).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	rpc := func(do func(context.Context) error) func() {
		return func() {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer token-of-eve-0123456789"))
			_, _ = g.Unary(ctx, &controlv1.RevokeNodeRequest{NodeId: "n1", Reason: "stolen"}, &grpc.UnaryServerInfo{FullMethod: controlv1.AccessService_RevokeNode_FullMethodName},
				func(ctx context.Context, _ any) (any, error) { return nil, do(ctx) })
		}
	}
	commit := func(ctx context.Context, id string) error { _, err := st.Commit(ctx, change(id)); return err }
	record := func(ctx context.Context, id string) error {
		return st.Write(ctx, []store.Record{{Kind: "denials", ID: id, Body: []byte("x")}})
	}
	type entry struct {
		who, what, result, why string
		rev                    uint64
	}
	const revoke = "AccessService.RevokeNode n1"
	seen := uint64(0)
	for _, c := range []struct {
		name string
		do   func()
		want []entry
	}{
		{"a change", rest(func(ctx context.Context) int { _ = commit(ctx, "1"); return 200 }),
			[]entry{{"bob", "PUT /services/a", Committed, "because", 1}}},
		{"a change whose answer is bad", rest(func(ctx context.Context) int { _ = commit(ctx, "2"); return 504 }),
			[]entry{{"bob", "PUT /services/a", Committed, "because", 2}, {"bob", "PUT /services/a", "504", "because", 0}}},
		{"no change", rest(func(context.Context) int { return 200 }), []entry{{"bob", "PUT /services/a", "200", "because", 0}}},
		{"a change that is none", rest(func(ctx context.Context) int {
			c := change("2")
			c.Ops[0].Body = nil
			c.Ops[0].ID = "not there"
			if _, err := st.Commit(ctx, c); err != nil {
				return 500
			}
			return 204
		}), []entry{{"bob", "PUT /services/a", "204", "because", 0}}},
		{"two changes", rest(func(ctx context.Context) int { _ = errors.Join(commit(ctx, "3"), commit(ctx, "4")); return 200 }),
			[]entry{{"bob", "PUT /services/a", Committed, "because", 3}, {"bob", "PUT /services/a", Committed, "because", 4}}},
		{"by itself", func() { _ = commit(t.Context(), "5") }, []entry{{"somebody", "control plane", Committed, "why not", 5}}},
		{"records", rpc(func(ctx context.Context) error { return errors.Join(record(ctx, "n1"), record(ctx, "n2")) }),
			[]entry{{"eve", revoke, Committed, "stolen", 0}}},
		{"records that cannot be written", rpc(func(ctx context.Context) error {
			if record(ctx, "n1") == nil {
				return nil
			}
			return grpcstatus.Error(codes.Aborted, "")
		}), []entry{{"eve", revoke, "Aborted", "stolen", 0}}},
		{"records by itself", func() { _ = record(t.Context(), "n3") }, nil},
	} {
		c.do()
		list, err := raw.AuditEntries(t.Context(), seen, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != len(c.want) {
			t.Errorf("%s: %d entries, want %d", c.name, len(list), len(c.want))
		}
		for i, e := range list {
			seen = e.Seq
			v := &controlv1.AuditEvent{}
			if err := proto.Unmarshal(e.Body, v); err != nil {
				t.Fatal(err)
			}
			if got := (entry{v.GetWho(), v.GetWhat(), v.GetResult(), v.GetWhy(), v.GetRevision()}); i < len(c.want) && got != c.want[i] {
				t.Errorf("%s: entry %+v, want %+v", c.name, got, c.want[i])
			}
		}
	}
}
