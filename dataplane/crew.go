package dataplane

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine"
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// retireAtMost bounds how long a retired filter waits for the last exchange that uses it: a
// stream may last for days, and its filter's queue need not.
const retireAtMost = 10 * time.Minute

// finishAtMost bounds how long filters may take to send what is queued when the process ends.
const finishAtMost = 10 * time.Second

// job is work that goes with a graph: a filter's queue, the probes of an upstream. owner is
// what has it, and tells one job from another.
type job struct {
	owner any
	name  string
	run   func(context.Context) error
}

// crew runs the jobs of graphs: each begins when its graph is swapped in and ends after the
// last exchange that may need it.
type crew struct {
	log *slog.Logger

	mu      sync.Mutex // guards running
	running map[any]context.CancelFunc
	wg      sync.WaitGroup
}

func newCrew(log *slog.Logger) *crew {
	return &crew{log: log, running: map[any]context.CancelFunc{}}
}

// turnover is what begins and what ends from one graph to the next.
func turnover(next, prev *graph.Graph, n *upstream.Network) (begin, end []job) {
	come, gone := next.Turnover(prev)
	begin, end = filterJobs(come), filterJobs(gone)
	arrived, left := next.BalancerTurnover(prev)
	return append(begin, probeJobs(arrived, n)...), append(end, probeJobs(left, n)...)
}

func filterJobs(list []*graph.Instance) (jobs []job) {
	for _, in := range list {
		if in.Run != nil {
			jobs = append(jobs, job{in, "plugin " + in.Plugin.Name + " " + in.ID, in.Run.Run})
		}
	}
	return jobs
}

func probeJobs(list []*upstream.Balancer, n *upstream.Network) (jobs []job) {
	for _, b := range list {
		if b.Probes() {
			jobs = append(jobs, job{b, "probes of " + b.Spec().Name, func(ctx context.Context) error { return b.Probe(ctx, n) }})
		}
	}
	return jobs
}

// begin starts jobs.
func (c *crew) begin(jobs []job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range jobs {
		if c.running[j.owner] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.running[j.owner] = cancel
		c.wg.Go(func() {
			if err := j.run(ctx); err != nil && ctx.Err() == nil {
				c.log.Error("work of the configuration ended", "of", j.name, "error", err)
			}
		})
	}
}

// end stops jobs once the graph that had them is quiet.
func (c *crew) end(ctx context.Context, jobs []job, old *engine.Retired) {
	if len(jobs) == 0 {
		return
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, retireAtMost)
		defer cancel()
		_ = old.Wait(ctx) // past the bound, or at the end of the process, it ends all the same
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, j := range jobs {
			if stop := c.running[j.owner]; stop != nil {
				stop()
				delete(c.running, j.owner)
			}
		}
	})
}

// finish stops all work and waits, within a bound, until what is queued was sent.
func (c *crew) finish() {
	c.mu.Lock()
	for owner, stop := range c.running {
		stop()
		delete(c.running, owner)
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
		c.log.Warn("work of the configuration did not finish in time", "timeout", finishAtMost)
	}
}
