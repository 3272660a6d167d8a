package ledger

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// probeEvery is how often a Redis that does not answer is tried, away from requests.
	probeEvery = 100 * time.Millisecond
	// firstPatience is how long the first request waits for a connection to be made.
	firstPatience = 500 * time.Millisecond
	// complainEvery is how often errors are logged that every request may meet.
	complainEvery = 10 * time.Second
	// unknown is the error of a clock that could not be compared: half of it each way.
	unknown = int64(time.Hour)
)

var errPatience = errors.New("no answer in time")

// health is whether Redis answers. The zero value is healthy.
type health struct {
	probed  atomic.Int64 // local time of the last probe
	quiet   atomic.Int64 // until when nothing is logged of broken keys
	average atomic.Int64 // of the time that answers take, in nanoseconds
}

// patience is how long to wait for an answer: longer than they take as a rule.
func (l *Ledger) patience() time.Duration {
	return min(max(l.o.Patience, 8*time.Duration(l.health.average.Load())), l.o.Timeout)
}

// silent notes that an answer did not come, or that it was an error.
func (l *Ledger) silent(err error) {
	if l.node.Down() {
		return
	}
	l.node.SetDown(true)
	l.stats.openings.Add(1)
	l.health.probed.Store(l.o.Now())
	l.o.Log.Warn("shared limits are decided without their store, which does not answer", "store", l.o.Name, "error", err)
}

// answered notes an answer and its time.
func (l *Ledger) answered(sent, received, theirs int64) {
	l.node.Clock.Observe(sent, received, theirs)
	h := &l.health
	average := h.average.Load()
	if average == 0 {
		average = received - sent
	}
	average += (received - sent - average) / 8
	h.average.Store(average)
	l.node.SetRoundTrip(average)
	if l.node.Down() {
		l.node.SetDown(false)
		l.o.Log.Info("the store of shared limits answers again", "store", l.o.Name)
	}
}

// broken notes a key that cannot be counted with, for instance of another type.
func (l *Ledger) broken(key string) {
	now, quiet := l.o.Now(), l.health.quiet.Load()
	if now < quiet || !l.health.quiet.CompareAndSwap(quiet, now+int64(complainEvery)) {
		return
	}
	l.o.Log.Warn("what is stored of a limit cannot be counted with", "store", l.o.Name, "key", prefix+"{...}:"+key)
}

// look is what comes before a question: the clock is read once, and a Redis that is away is tried.
// It returns the time.
func (l *Ledger) look() int64 {
	if !l.node.Clock.Synced() {
		l.sync()
	}
	now := l.o.Now()
	if l.node.Down() {
		l.probe(now)
	}
	return now
}

// sync reads the clock of Redis before the first question. Requests that come meanwhile wait
// for the same answer. Without one, this machine's clock serves.
func (l *Ledger) sync() {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.node.Clock.Synced() {
		return
	}
	if err := l.readTime(max(firstPatience, l.o.Patience)); err != nil {
		now := l.o.Now()
		l.node.Clock.Observe(now-unknown, now+unknown, l.o.Wall().UnixMicro())
		l.silent(err)
	}
}

// readTime asks for the time, to see whether Redis answers within patience.
func (l *Ledger) readTime(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), min(patience, l.o.Timeout))
	defer cancel()
	sent := l.o.Now()
	t, err := l.o.Client.Time(ctx).Result()
	if err != nil {
		return err
	}
	l.answered(sent, l.o.Now(), t.UnixMicro())
	return nil
}

// probe tries a Redis that is away, if nobody did lately. It returns at once.
func (l *Ledger) probe(now int64) {
	last := l.health.probed.Load()
	if now-last < int64(probeEvery) || !l.health.probed.CompareAndSwap(last, now) {
		return
	}
	// A connection that must be made anew takes longer than a call. While the last probe is
	// under way for so long, others may begin: connections of one probe each, ten at most.
	go func() { _ = l.readTime(10 * l.o.Patience) }()
}

func (l *Ledger) keepTrying(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if l.node.Down() {
				l.probe(l.o.Now())
			}
		}
	}
}
