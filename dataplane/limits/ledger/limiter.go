package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// maxIdentifier is the longest identifier that is kept as it is, here and in Redis: it may be
// a header line of 64 KiB.
const maxIdentifier = 200

// ErrAway says that Redis does not answer and that the rule admits nothing meanwhile.
var ErrAway = errors.New("the store of shared limits does not answer")

// shared is the mode of what was decided with leases.
const shared = "shared"

// Limiter is a rule that is counted in a Ledger.
type Limiter struct {
	ledger *Ledger
	table  *table
}

var _ plugin.Limiter = (*Limiter)(nil)

// Limiter returns the counters of a rule. All limiters of one ID count together.
func (l *Ledger) Limiter(id string, r *lease.Rule) *Limiter {
	t := &table{ledger: l, rule: r, name: ruleName.Replace(id), seed: maphash.MakeSeed()}
	return &Limiter{l, t}
}

// ruleName keeps what ends a rule's name in keys out of it.
var ruleName = strings.NewReplacer("%", "%25", "|", "%7C")

// Take implements plugin.Limiter: nothing waits, and nothing is allocated, for who has tokens
// here or is known to have none left anywhere.
func (l *Limiter) Take(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	if n < 0 {
		return fmt.Errorf("take %d of rule %s: not a number of requests", n, l.table.name)
	}
	e, now := l.table.get(shorten(identifier)), l.ledger.o.Now()
	d.Counted, d.Mode = true, shared
	v, refill := lease.Undecided, false
	if n > 0 {
		v, refill = e.Take(now, n)
	}
	switch v {
	case lease.Admit:
		d.Allowed = true
		e.Left(&d.Remaining)
		if refill {
			e.refill(now)
		}
	case lease.Refuse:
		d.Allowed = false
		d.Stop = e.Stop(&d.Remaining)
	default:
		_, err := l.join(ctx, e, n, d, false)
		return err
	}
	d.Now = l.ledger.time(now)
	return nil
}

// Reservation is what was taken for a use that is not known yet.
type Reservation struct {
	of   *lease.Reservation
	from *entry
}

var _ plugin.Reservation = (*Reservation)(nil)

// Reserve implements plugin.Limiter.
func (l *Limiter) Reserve(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) (plugin.Reservation, error) {
	if n < 1 {
		return nil, fmt.Errorf("reserve %d of rule %s: not a use", n, l.table.name)
	}
	e := l.table.get(shorten(identifier))
	d.Counted, d.Mode = true, shared
	r, err := l.join(ctx, e, n, d, true)
	if r == nil || err != nil {
		return nil, err
	}
	return &Reservation{r, e}, nil
}

// Settle implements plugin.Reservation.
func (r *Reservation) Settle(used int64) {
	var out lease.Out
	r.from.Settle(r.from.ledger.o.Now(), r.of, max(0, used), &out)
	r.from.do(&out)
}

// shorten returns an identifier that is no longer than maxIdentifier, the same for the same.
func shorten(identifier string) string {
	if len(identifier) <= maxIdentifier {
		return identifier
	}
	sum := sha256.Sum256([]byte(identifier))
	return "sha256-" + hex.EncodeToString(sum[:])
}

func (l *Ledger) time(now int64) time.Time { return time.Unix(0, l.node.Clock.Authority(now)) }

func (e *entry) refill(now int64) {
	var out lease.Out
	e.Refill(now, &out)
	e.do(&out)
}

var waiters = sync.Pool{New: func() any { return &lease.Waiter{Ready: make(chan struct{}, 1)} }}

// join waits for the bucket to decide. It keeps what was admitted if that is a reservation.
func (l *Limiter) join(ctx func() context.Context, e *entry, n int64, d *plugin.Decision, reserve bool) (r *lease.Reservation, err error) {
	now := l.ledger.look()
	w := waiters.Get().(*lease.Waiter)
	*w = lease.Waiter{Ready: w.Ready, N: n, Reserve: reserve}
	var out lease.Out
	e.Join(now, w, &out)
	e.do(&out)
	if err := Await(ctx, w.Ready, e, w); err != nil {
		d.Allowed, d.Counted, d.Now = false, false, l.ledger.time(now)
		return nil, fmt.Errorf("count rule %s: %w", l.table.name, err)
	}
	err = l.decide(w, d)
	if reserve && d.Allowed {
		r = lease.Reserve(w)
	}
	waiters.Put(w)
	return r, err
}

// Await returns once w is ready. When ctx ends before that, w leaves where it waits, and ctx's error
// is returned; a verdict that came in this moment counts.
func Await[W any](ctx func() context.Context, ready <-chan struct{}, in interface{ Leave(W) bool }, w W) error {
	select {
	case <-ready:
		return nil
	default:
	}
	c := ctx()
	select {
	case <-ready:
	case <-c.Done():
		if in.Leave(w) {
			return c.Err()
		}
		<-ready
	}
	return nil
}

func (l *Limiter) decide(w *lease.Waiter, d *plugin.Decision) error {
	d.Now = l.when(w)
	d.Allowed, d.Stop, d.Remaining = w.Verdict == lease.Admit, w.Stop, w.Left
	if !w.Outage {
		return nil
	}
	d.Mode = l.table.rule.Outage.String()
	s := &l.ledger.stats
	if d.Allowed {
		s.admitted.Add(1)
		d.Counted = l.table.rule.Outage != plugin.Open // what is let through uncounted has nothing to tell
		return nil
	}
	s.refused.Add(1)
	if w.Verdict == lease.Fault {
		d.Counted = false
		return fmt.Errorf("count rule %s: %w", l.table.name, ErrAway)
	}
	return nil
}

// when is the time of a decision, in the window that it was charged to: an answer may come
// when that has ended.
func (l *Limiter) when(w *lease.Waiter) time.Time {
	now := l.ledger.time(l.ledger.o.Now())
	_, end := lease.Bounds(l.table.rule.Windows[0].Period, time.Unix(0, w.Window))
	if !now.Before(end) && w.Verdict == lease.Admit {
		return end.Add(-1)
	}
	return now
}
