package feed_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/controlplane"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/model"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// lenient is a desk that sees nothing wrong, as one of another version may.
type lenient struct{}

func (lenient) Check(string, proto.Message) error { return nil }

// desk is a whole control plane on an embedded store.
func desk(t *testing.T, keep bool) (config controlv1.ConfigServiceClient, feed string) {
	t.Helper()
	s, err := model.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	nodes, admin := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	cp := controlplane.New(controlplane.Options{
		Store: st, Database: func() string { return "sqlite" }, Schema: s, Checker: lenient{}, Version: "1", Log: slog.New(slog.DiscardHandler), Now: time.Now,
		GRPC: admin, OpenFeeds: []net.Listener{nodes}, KeepRefused: keep,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = cp.Run(ctx) })
	conn, err := grpc.NewClient(admin.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); cancel(); wg.Wait(); st.Close() })
	return controlv1.NewConfigServiceClient(conn), nodes.Addr().String()
}

// TestPoisonIsContained gives two nodes what neither can compile: one of them is asked, the other
// keeps what it runs and never hears of it, and the change is taken back so that others go on.
func TestPoisonIsContained(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			t.Parallel()
			config, feed := desk(t, keep)
			write := func(name, host string) uint64 {
				t.Helper()
				spec, err := anypb.New(&entityv1.Service{Name: proto.String(name), Host: proto.String(host)})
				if err != nil {
					t.Fatal(err)
				}
				res, err := config.Commit(t.Context(), &controlv1.CommitRequest{Ops: []*controlv1.Op{{Op: &controlv1.Op_Put{Put: spec}}}})
				if err != nil {
					t.Fatal(err)
				}
				return res.GetRevision().GetRev()
			}
			first := write("good", "good.test")
			gates := []*picky{pick(t, feed, "n1"), pick(t, feed, "n2")}
			at := func(rev uint64) {
				t.Helper()
				for i, g := range gates {
					eventually(t, fmt.Sprint("node ", i), func() error { return g.stands(rev) })
				}
			}
			at(first)
			bad := write("bad", "poison.test")
			log := func() []*controlv1.Revision {
				t.Helper()
				res, err := config.ListRevisions(t.Context(), &controlv1.ListRevisionsRequest{})
				if err != nil {
					t.Fatal(err)
				}
				return res.GetRevisions()
			}
			if keep {
				eventually(t, "a refusal", func() error {
					if n := gates[0].refusals() + gates[1].refusals(); n != 1 {
						return fmt.Errorf("%d refusals, want 1", n)
					}
					return nil
				})
				at(first)
				if head := log()[0]; head.GetRev() != bad {
					t.Errorf("head is %v, want the refused revision as it is", head)
				}
				return
			}
			at(bad + 1)
			if head := log()[0]; head.GetActor() != "sekifuda" || !strings.Contains(head.GetMessage(), "a node refused services/") || !strings.Contains(head.GetMessage(), "cannot be compiled") {
				t.Errorf("the revision that takes it back is %v", head)
			}
			if n := gates[0].refusals() + gates[1].refusals(); n != 1 {
				t.Errorf("%d nodes were given what cannot be compiled, want 1", n)
			}
			at(write("other", "other.test"))
			if _, err := config.Get(t.Context(), &controlv1.GetRequest{Ref: &controlv1.EntityRef{Kind: "services", IdOrKey: "bad"}}); err == nil {
				t.Error("the refused service is still there")
			}
		})
	}
}
