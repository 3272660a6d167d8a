package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	"github.com/sekifuda/sekifuda/test/stack"
)

// history is writers under way and what they were told.
type history struct {
	house *house
	count atomic.Int64 // acknowledged
	quit  atomic.Bool
	wg    sync.WaitGroup

	mu     sync.Mutex
	writes []Write
}

// write starts writers, who turn to the next replica with the same request id until they are
// answered. Stop them before the history is looked at.
func (h *house) write(writers int) *history {
	w := &history{house: h}
	for k := range writers {
		w.wg.Go(func() {
			for i := 0; !w.quit.Load(); i++ {
				w.insist(k, i)
			}
		})
	}
	h.Cleanup(w.stop)
	return w
}

// stop lets every writer finish what it began.
func (w *history) stop() {
	w.quit.Store(true)
	w.wg.Wait()
}

// insist writes the i-th entity of a writer until it is acknowledged. A writer that is told to
// stop gives up after a few more tries, and the write stays unanswered.
func (w *history) insist(writer, i int) {
	this := Write{Request: fmt.Sprintf("w%d-%d", writer, i), ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", writer, i)}
	for try, last := 0, 10; last > 0; try++ {
		d := w.house.desks[(writer+try)%len(w.house.desks)]
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		res, err := commit(ctx, d.config, &controlv1.CommitRequest{RequestId: this.Request}, service(this.ID, ""))
		cancel()
		if err == nil {
			this.Rev = res.GetRevision().GetRev()
			w.count.Add(1)
			break
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded:
			time.Sleep(5 * time.Millisecond) // a dead replica says no at once
		default:
			w.house.Errorf("write %s: %v", this.Request, err)
			last = 0
		}
		if w.quit.Load() {
			last--
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, this)
}

// more waits until so many more writes were acknowledged.
func (w *history) more(n int64) {
	w.house.Helper()
	want := w.count.Load() + n
	stack.Eventually(w.house, func() error {
		if got := w.count.Load(); got < want {
			return fmt.Errorf("%d writes are acknowledged, want %d", got, want)
		}
		return nil
	})
}

// service is one that no route leads to.
func service(id, path string) *entityv1.Service {
	s := &entityv1.Service{Id: proto.String(id), Name: proto.String("s" + id), Host: proto.String("up.test")}
	if path != "" {
		s.Path = proto.String(path)
	}
	return s
}

// commit puts entities in one revision.
func commit(ctx context.Context, c controlv1.ConfigServiceClient, req *controlv1.CommitRequest, entities ...proto.Message) (*controlv1.CommitResponse, error) {
	for _, e := range entities {
		spec, err := anypb.New(e)
		if err != nil {
			return nil, err
		}
		req.Ops = append(req.Ops, &controlv1.Op{Op: &controlv1.Op_Put{Put: spec}})
	}
	return c.Commit(ctx, req)
}

// must commits entities at a replica and returns the revision.
func (h *house) must(replica int, entities ...proto.Message) uint64 {
	h.Helper()
	res, err := commit(h.Context(), h.desks[replica].config, &controlv1.CommitRequest{}, entities...)
	if err != nil {
		h.Fatal(err)
	}
	return res.GetRevision().GetRev()
}
