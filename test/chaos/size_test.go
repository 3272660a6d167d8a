package chaos

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
)

// batch is a commit of so many entities with so many bytes of text each.
func batch(entities, bytes int) (all []proto.Message) {
	for i := range entities {
		all = append(all, service(fmt.Sprintf("00000000-0000-4000-8000-%012x", i), "/"+strings.Repeat("x", bytes)))
	}
	return all
}

// TestHugeCommits writes up to the limits and past them. What is too large is refused with the
// limit and the entity named, and nothing of it is written; what is not reaches the nodes.
func TestHugeCommits(t *testing.T) {
	t.Parallel()
	longRow(t)
	h := open(t, services.Postgres(t))
	n := h.witness("n", "default", h.replicas[0].Addr("feed"))
	head := h.must(0, service("00000000-0000-4000-8000-00000000ffff", ""))
	for name, c := range map[string]struct {
		entities []proto.Message
		words    []string
	}{
		"one entity":        {batch(1, 1<<20), []string{"services 00000000-0000-4000-8000-000000000000", "1048576"}},
		"a batch":           {batch(40, 900_000), []string{"33554432"}},
		"more than a frame": {batch(80, 900_000), []string{"67108864"}},
	} {
		_, err := commit(t.Context(), h.desks[0].config, &controlv1.CommitRequest{}, c.entities...)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s: %.300v, want %v", name, err, codes.ResourceExhausted)
		}
		for _, w := range c.words {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%s is refused with %.300v, which does not say %s", name, err, w)
			}
		}
	}
	if got := h.sqlHead(); got != head {
		t.Errorf("head is %d after refusals, was %d", got, head)
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := commit(ctx, h.desks[0].config, &controlv1.CommitRequest{}, batch(34, 900_000)...)
	if err != nil {
		t.Fatalf("a batch of 31 MB: %.300v", err)
	}
	written := time.Since(begin)
	n.reach(res.GetRevision().GetRev())
	t.Logf("31 MB in one revision: written after %v, enforced after %v", written.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	n.reach(h.must(0, service("00000000-0000-4000-8000-00000000ffff", "/after")))
	(&history{house: h}).holds(h)
}
