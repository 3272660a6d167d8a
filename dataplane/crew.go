package dataplane

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine"
	"github.com/sekifuda/sekifuda/dataplane/graph"
)

// retireAtMost bounds how long a retired filter waits for the last exchange that uses it: a
// stream may last for days, and its filter's queue need not.
const retireAtMost = 10 * time.Minute

// finishAtMost bounds how long filters may take to send what is queued when the process ends.
const finishAtMost = 10 * time.Second

// crew runs the work of filters: each begins when its graph is swapped in and ends after the
// last exchange that may use it.
type crew struct {
	log *slog.Logger

	mu      sync.Mutex // guards running
	running map[*graph.Instance]context.CancelFunc
	wg      sync.WaitGroup
}

func newCrew(log *slog.Logger) *crew {
	return &crew{log: log, running: map[*graph.Instance]context.CancelFunc{}}
}

// begin starts the work of filters that have any.
func (c *crew) begin(instances []*graph.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, in := range instances {
		if in.Run == nil || c.running[in] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.running[in] = cancel
		c.wg.Go(func() {
			if err := in.Run.Run(ctx); err != nil && ctx.Err() == nil {
				c.log.Error("a plugin's work ended", "plugin", in.Plugin.Name, "id", in.ID, "error", err)
			}
		})
	}
}

// end stops the work of filters once the graph that had them is quiet.
func (c *crew) end(ctx context.Context, instances []*graph.Instance, old *engine.Retired) {
	var ours []*graph.Instance
	c.mu.Lock()
	for _, in := range instances {
		if c.running[in] != nil {
			ours = append(ours, in)
		}
	}
	c.mu.Unlock()
	if len(ours) == 0 {
		return
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, retireAtMost)
		defer cancel()
		_ = old.Wait(ctx) // past the bound, or at the end of the process, it ends all the same
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, in := range ours {
			if stop := c.running[in]; stop != nil {
				stop()
				delete(c.running, in)
			}
		}
	})
}

// finish stops all work and waits, within a bound, until what is queued was sent.
func (c *crew) finish() {
	c.mu.Lock()
	for in, stop := range c.running {
		stop()
		delete(c.running, in)
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(finishAtMost):
		c.log.Warn("a plugin did not finish its work in time", "timeout", finishAtMost)
	}
}
