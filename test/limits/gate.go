package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits"
	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// gateVariable has the orders of a process that is to be a gate.
const gateVariable = "SEKI_LIMITS_GATE"

// orders say what load a gate puts on its own limiter.
type orders struct {
	RedisURL string
	Windows  []plugin.Window
	Outage   plugin.Outage
	Rate     float64 // requests in a second
	Begin    time.Time
	For      time.Duration
	Patience time.Duration
	Keys     int // identifiers, in turn; 0: one
	// Way is one of the ways that leases are held against; "": leases.
	Way string
	// WatchFrom and WatchTo say of when latencies are reported on their own.
	WatchFrom, WatchTo time.Duration
}

// report is what a gate saw. Windows are of the rule's shortest period, by Unix second.
type report struct {
	// Charged is by the window that the limiter says, Came by this machine's clock.
	Charged, Came map[int64]tally
	// Offered counts the requests of each identifier by Charged's windows, where there are many.
	Offered   map[int64][]int64
	Latencies []int64 // of each bucket, as bucketOf
	Watched   []int64 // of that, from WatchFrom to WatchTo
	Asks      uint64
	InOutage  uint64
	Errors    int64
	Requests  int64
}

func newReport() *report {
	return &report{
		Charged: map[int64]tally{}, Came: map[int64]tally{}, Offered: map[int64][]int64{},
		Latencies: make([]int64, latencyBuckets), Watched: make([]int64, latencyBuckets),
	}
}

type tally struct{ Offered, Admitted int64 }

func (a tally) plus(b tally) tally { return tally{a.Offered + b.Offered, a.Admitted + b.Admitted} }

const drivers = 8 // goroutines of a gate that send requests

// beGate runs a gate as ordered and writes its report. It ends early when its input does, for
// nobody would read the report.
func beGate(text string, out io.Writer) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	if o.Way != "" {
		return beOther(&o, out)
	}
	all, err := limits.New(limits.Options{RedisURL: o.RedisURL, Patience: o.Patience, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l, err := all.Limiter(plugin.Rule{ID: "fleet", Windows: o.Windows, Redis: &plugin.Redis{}, Outage: o.Outage})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	ran := make(chan error, 1)
	go func() { ran <- all.Run(ctx) }()
	r := drive(ctx, l, &o)
	for _, s := range all.Stats() {
		r.Asks += s.Asks
		r.InOutage += s.Admitted
	}
	stop()
	if err := <-ran; err != nil {
		return fmt.Errorf("run limits: %w", err)
	}
	return json.NewEncoder(out).Encode(r)
}

// beOther runs a gate that limits in another way.
func beOther(o *orders, out io.Writer) error {
	l, run, err := otherWay(o.Way, o.RedisURL, o.Windows[0].Limit)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- run(ctx) }()
	r := drive(ctx, l, o)
	stop()
	if err := <-ran; err != nil {
		return fmt.Errorf("run %s: %w", o.Way, err)
	}
	return json.NewEncoder(out).Encode(r)
}

func drive(ctx context.Context, l plugin.Limiter, o *orders) *report {
	total := newReport()
	var mu sync.Mutex // guards total
	var wg sync.WaitGroup
	for i := range drivers {
		wg.Go(func() {
			r := driveOne(ctx, l, o, i)
			mu.Lock()
			defer mu.Unlock()
			total.add(r)
		})
	}
	wg.Wait()
	return total
}

// driveOne sends requests at times of a schedule; it catches up when one took long.
func driveOne(ctx context.Context, l plugin.Limiter, o *orders, i int) *report {
	r := newReport()
	step := float64(drivers) / o.Rate * 1e9
	pause(ctx, time.Until(o.Begin)+time.Duration(step*float64(i)/drivers))
	start := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := time.Duration(float64(n) * step)
		if due > o.For {
			break
		}
		if wait := due - time.Since(start); wait > 500*time.Microsecond {
			pause(ctx, wait)
		}
		if o.Keys == 0 {
			r.take(l, o, "one")
			continue
		}
		k := (n*drivers + i) % o.Keys
		at := r.take(l, o, fmt.Sprint("id", k))
		if r.Offered[at] == nil {
			r.Offered[at] = make([]int64, o.Keys)
		}
		r.Offered[at][k]++
	}
	return r
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// take sends one request and returns the window that it was charged to.
func (r *report) take(l plugin.Limiter, o *orders, id string) (charged int64) {
	var d plugin.Decision
	came := time.Now()
	err := l.Take(context.Background, id, 1, &d)
	took := time.Since(came)
	r.Requests++
	r.Latencies[bucketOf(took)]++
	if at := came.Sub(o.Begin); at >= o.WatchFrom && at < o.WatchTo {
		r.Watched[bucketOf(took)]++
	}
	if err != nil {
		r.Errors++
		if !errors.Is(err, context.Canceled) {
			d.Now = came
		}
	}
	one := tally{Offered: 1}
	if d.Allowed {
		one.Admitted = 1
	}
	at := func(t time.Time) int64 {
		start, _ := lease.Bounds(o.Windows[0].Period, t)
		return start.Unix()
	}
	charged = at(d.Now)
	r.Charged[charged] = r.Charged[charged].plus(one)
	r.Came[at(came)] = r.Came[at(came)].plus(one)
	return charged
}

// due is how many requests of a window an exact limit of each identifier admits.
func (r *report) due(window, limit int64) (n int64) {
	if r.Offered[window] == nil {
		return min(limit, r.Charged[window].Offered)
	}
	for _, offered := range r.Offered[window] {
		n += min(limit, offered)
	}
	return n
}

func (r *report) add(x *report) {
	for w, t := range x.Charged {
		r.Charged[w] = r.Charged[w].plus(t)
	}
	for w, t := range x.Came {
		r.Came[w] = r.Came[w].plus(t)
	}
	for w, each := range x.Offered {
		if r.Offered[w] == nil {
			r.Offered[w] = make([]int64, len(each))
		}
		for k, n := range each {
			r.Offered[w][k] += n
		}
	}
	for i, n := range x.Latencies {
		r.Latencies[i] += n
		r.Watched[i] += x.Watched[i]
	}
	r.Asks += x.Asks
	r.InOutage += x.InOutage
	r.Errors += x.Errors
	r.Requests += x.Requests
}

// latencyBuckets are a tenth wide each, from 50 ns.
const latencyBuckets = 220

func bucketOf(d time.Duration) int {
	return max(0, min(latencyBuckets-1, int(math.Log(float64(d)/50)/math.Log(1.1))+1))
}

// quantile is an upper bound, within a tenth.
func (r *report) quantile(q float64) time.Duration {
	var sum, all int64
	for _, n := range r.Latencies {
		all += n
	}
	for i, n := range r.Latencies {
		if sum += n; float64(sum) >= q*float64(all) {
			return time.Duration(50 * math.Pow(1.1, float64(i)))
		}
	}
	return 0
}
