package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/sekifuda/sekifuda/dataplane/feed"
	"github.com/sekifuda/sekifuda/test/stack"
)

// witness is a node's end of the feed in this process: it takes every move, and the house notes
// each as it is enforced. A node of its own process shows only where it stands from time to time.
type witness struct {
	id     string
	house  *house
	client *feed.Client
	fulls  atomic.Int64 // moves that were everything
	moves  atomic.Int64
}

// Apply enforces a move, which the feed has verified.
func (w *witness) Apply(_ context.Context, m feed.Move) error {
	if m.Full {
		w.fulls.Add(1)
	}
	w.moves.Add(1)
	w.house.saw(w.id, m.To)
	return nil
}

// witness starts one of a group, at an address.
func (h *house) witness(id, group, target string) *witness {
	h.Helper()
	conn, err := feed.Dial(target, insecure.NewCredentials())
	if err != nil {
		h.Fatal(err)
	}
	w := &witness{id: id, house: h}
	if w.client, err = feed.New(feed.Options{Conn: conn, Applier: w, NodeID: id, Group: group, Version: "1"}); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.client.Run(ctx) })
	h.Cleanup(func() { cancel(); conn.Close(); wg.Wait() })
	h.witnesses = append(h.witnesses, w)
	return w
}

// reach waits until the witness enforces a revision.
func (w *witness) reach(rev uint64) {
	w.house.Helper()
	stack.Eventually(w.house, func() error {
		if at := w.client.Status().Running; at.Staged != rev || at.Live != rev {
			return fmt.Errorf("node %s is at %v, want revision %d", w.id, at, rev)
		}
		return nil
	})
}
