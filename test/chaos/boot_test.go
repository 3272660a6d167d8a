package chaos

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

const (
	bootRoutes = 100_000
	bootBound  = 3 * time.Second
)

// TestBootFromDisk starts a node of 100,000 routes with nobody else alive, and measures the time
// from its start to its first answer. It runs before the rows that share the machine.
func TestBootFromDisk(t *testing.T) {
	longRow(t)
	h := open(t, services.Postgres(t))
	node := stack.StartNode(t, h.replicas[0].Addr("feed"), "default", "n")
	h.route(0, "first")
	h.fill(bootRoutes)
	h.converge("n")
	h.onDisk("n", true)
	h.replicas[0].Kill()
	var took []time.Duration
	for range 3 {
		node.Stop()
		begin := time.Now()
		node.Restart()
		for { // as fast as a client may ask
			if code, _, err := stack.Try("GET", node.URLs["proxy"]+"/first", ""); err == nil && code == 200 {
				break
			} else if time.Since(begin) > time.Minute {
				t.Fatalf("no answer after %v: %d %v", time.Since(begin), code, err)
			}
		}
		took = append(took, time.Since(begin).Round(time.Millisecond))
	}
	// The machine may be busy with others: the least of three is the program's own.
	if least := slices.Min(took); least > bootBound {
		t.Errorf("%d routes: first answer after %v at best, want %v", bootRoutes, least, bootBound)
	}
	t.Logf("%d routes: first answer after %v", bootRoutes, took)
}

// fill writes routes of one service.
func (h *house) fill(routes int) {
	h.Helper()
	const each, id = 5000, "00000000-0000-4000-8000-00000000abcd"
	h.must(0, service(id, ""))
	for i := 0; i < routes; i += each {
		var list []proto.Message
		for k := i; k < i+each; k++ {
			list = append(list, &entityv1.Route{
				Id: proto.String(fmt.Sprintf("%08x-0000-4000-8000-000000000000", k+1)), Name: proto.String(fmt.Sprint("route-", k)),
				Paths: []string{fmt.Sprintf("/tenants/%d/things", k)}, Hosts: []string{fmt.Sprintf("h%d.test", k%100)}, Service: proto.String(id),
			})
		}
		ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
		_, err := commit(ctx, h.desks[0].config, &controlv1.CommitRequest{}, list...)
		cancel()
		if err != nil {
			h.Fatal(err)
		}
	}
}
