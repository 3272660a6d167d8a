package ops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Notifier tells somebody.
type Notifier interface {
	// Notify sends one message; it returns when ctx ends at the latest.
	Notify(ctx context.Context, subject, text string, f Finding) error
}

const (
	// repeatAfter is when something that is still bad is told again.
	repeatAfter = time.Hour
	// notifyTimeout is how long one notification may take: a mail server that hangs must not
	// keep readings from being taken.
	notifyTimeout = 15 * time.Second
	// maxNotifying bounds the notifications under way; those above it are not sent, and said so.
	maxNotifying = 32
)

// Monitor takes readings, writes them to logs and tells of what changed for the worse, and
// when it is well again.
type Monitor struct {
	Stack      *Stack
	Thresholds Thresholds
	AlertLog   string // file of everything that is not OK; "": none
	MetricsLog string // file with a line of values for each reading; "": none
	Notifiers  []Notifier
	Problem    func(error) // hears of logs that cannot be written and of messages that are not sent

	before *Reading
	told   map[string]told
	wg     sync.WaitGroup
	slots  chan struct{}
}

// told is what was last said of a finding.
type told struct {
	level Level
	at    time.Time
}

// Begin takes the reading from which the first rates are counted. Once does it, too, when nobody
// did.
func (m *Monitor) Begin(ctx context.Context) { m.before = m.Stack.Read(ctx) }

// Once takes one reading, judges it and writes it down. The first one has no rates. It is not
// safe for concurrent use.
func (m *Monitor) Once(ctx context.Context) (*Reading, []Finding) {
	r := m.Stack.Read(ctx)
	all := Judge(r, m.before, m.Thresholds)
	m.before = r
	m.write(r, all)
	m.tell(ctx, r.At, all)
	return r, all
}

// Close waits for notifications under way.
func (m *Monitor) Close() { m.wg.Wait() }

func (m *Monitor) problem(err error) {
	if m.Problem != nil && err != nil {
		m.Problem(err)
	}
}

const stampLayout = "2006-01-02 15:04:05"

// Line is a finding as the guide's alert log has it.
func Line(at time.Time, f Finding) string {
	return fmt.Sprintf("%s [%s] %s", at.Format(stampLayout), f.Level, f.Text)
}

func (m *Monitor) write(r *Reading, all []Finding) {
	var bad []byte
	values := fmt.Sprintf("%s admin_ms=%d proxy_ms=%d connections_active=%d total_requests=%d", r.At.Format(stampLayout),
		r.AdminTook.Milliseconds(), r.ProxyTook.Milliseconds(), r.Active, r.Total)
	for _, f := range all {
		if f.Level != OK {
			bad = append(append(bad, Line(r.At, f)...), '\n')
		}
		if f.Value != 0 && f.Name != "database" && f.Name != "active_connections" && f.Name != "admin_response_ms" && f.Name != "proxy_response_ms" {
			values += fmt.Sprintf(" %s=%s", f.Name, number(f.Value))
		}
	}
	m.problem(appendTo(m.AlertLog, bad))
	m.problem(appendTo(m.MetricsLog, append([]byte(values), '\n')))
}

// appendTo adds to a file, which may be moved away between two writes.
func appendTo(path string, text []byte) error {
	if path == "" || len(text) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// tell notifies of findings whose level changed, and again of those that stay bad.
func (m *Monitor) tell(ctx context.Context, at time.Time, all []Finding) {
	if m.told == nil {
		m.told = map[string]told{}
		m.slots = make(chan struct{}, maxNotifying)
	}
	now := map[string]Finding{}
	for _, f := range all {
		if worst, ok := now[f.Name]; !ok || f.Level > worst.Level {
			now[f.Name] = f
		}
	}
	for name, f := range now {
		last := m.told[name]
		if f.Level == last.level && (f.Level == OK || at.Sub(last.at) < repeatAfter) {
			continue
		}
		m.told[name] = told{f.Level, at}
		m.notify(ctx, at, f)
	}
	for name, last := range m.told { // it is not looked at any more, so it is not bad
		if _, ok := now[name]; !ok && last.level != OK {
			delete(m.told, name)
			m.notify(ctx, at, finding(name, OK, 0, "%s: seen no more", name))
		}
	}
}

func (m *Monitor) notify(ctx context.Context, at time.Time, f Finding) {
	subject := fmt.Sprintf("[%s] %s", f.Level, f.Text)
	for _, n := range m.Notifiers {
		select {
		case m.slots <- struct{}{}:
		default:
			m.problem(fmt.Errorf("not sent, as %d messages are under way: %s", maxNotifying, subject))
			continue
		}
		m.wg.Go(func() {
			defer func() { <-m.slots }()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
			defer cancel()
			if err := n.Notify(ctx, subject, Line(at, f), f); err != nil {
				m.problem(fmt.Errorf("not sent: %s: %w", subject, err))
			}
		})
	}
}
