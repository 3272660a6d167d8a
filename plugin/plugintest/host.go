package plugintest

import (
	"bytes"
	"log/slog"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Clock is a clock that tests move. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Host lends filters what a gate would: exact counters on a clock, a log that tests read,
// and metrics that remember what they were asked.
type Host struct {
	Clock    *Clock
	Counters *Counters
	Seen     *Observations
	In       plugin.Scope
	Kept     *Records

	log *Log
}

// NewHost returns a host whose clock stands at 2023-11-14 22:13:20 UTC, where the vectors do.
func NewHost() *Host {
	clock := NewClock(time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC))
	return &Host{Clock: clock, Counters: NewCounters(clock), Seen: &Observations{}, Kept: NewRecords(clock), log: &Log{}}
}

// Logger implements plugin.Host.
func (h *Host) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(h.log, nil)) }

// Logged returns all that filters have logged.
func (h *Host) Logged() string { return h.log.String() }

// NodeID implements plugin.Host.
func (h *Host) NodeID() string { return "node-1" }

// Limiter implements plugin.Host.
func (h *Host) Limiter(r plugin.Rule) (plugin.Limiter, error) { return h.Counters.Limiter(r), nil }

// Slots implements plugin.Host.
func (h *Host) Slots(r plugin.SlotRule) (plugin.Slots, error) { return h.Counters.Slots(r), nil }

// Metrics implements plugin.Host.
func (h *Host) Metrics() plugin.Metrics { return h.Seen }

// Scope implements plugin.Host.
func (h *Host) Scope() plugin.Scope { return h.In }

// Records implements plugin.Host.
func (h *Host) Records() plugin.Records { return h.Kept }

// Log collects log lines. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Observations remembers what metrics were asked to count.
type Observations struct {
	mu      sync.Mutex
	enabled plugin.MetricSet
	sets    []plugin.MetricSet
}

// Observe implements plugin.Metrics.
func (o *Observations) Observe(_ *plugin.Exchange, set plugin.MetricSet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sets = append(o.sets, set)
}

// Enable implements plugin.Metrics.
func (o *Observations) Enable(set plugin.MetricSet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.enabled |= set
}

// Enabled returns the series that configurations asked for.
func (o *Observations) Enabled() plugin.MetricSet {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enabled
}

// Sets returns the set of each observation, in order.
func (o *Observations) Sets() []plugin.MetricSet {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]plugin.MetricSet(nil), o.sets...)
}
