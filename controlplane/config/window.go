package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/draft"
	"github.com/sekifuda/sekifuda/model/fault"
)

// Bounds of what waits: a window that nobody comes back to must not be kept for good, and all
// of them are memory of this process. They do not survive it: what is not published was never
// there.
const (
	maxWindows    = 64
	windowIdleFor = 15 * time.Minute
)

// Window is changes that wait to be published as one revision. Its Config reads configuration
// as it will be, and writes into the window alone.
type Window struct {
	*Config
	Token string
	Since time.Time
	Quiet time.Duration // published by itself after so long without a call; 0: only when asked
	draft *draft.Draft
	ended func()

	mu     sync.Mutex
	calls  int       // under way
	used   time.Time // when the last one ended
	broken bool      // a client went away in the middle of a write
	by     Origin    // of the last write
}

// Len is how many entities the window touches.
func (w *Window) Len() int { return w.draft.Len() }

// Windows are the change windows of this control plane. It is safe for concurrent use.
type Windows struct {
	config *Config
	log    *slog.Logger
	wake   chan struct{}

	mu   sync.Mutex
	open map[string]*Window
}

// NewWindows returns no windows over c.
func NewWindows(c *Config, log *slog.Logger) *Windows {
	return &Windows{config: c, log: log, wake: make(chan struct{}, 1), open: map[string]*Window{}}
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~@:/ -]{1,128}$`)

// IsToken reports whether a window may be called so.
func IsToken(token string) bool { return tokenForm.MatchString(token) }

// Has reports whether the window is open here.
func (ws *Windows) Has(token string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.open[token] != nil
}

// Enter returns the window of that token for one call, which ends with Leave. A write opens
// the window if there is none; for a read it is nil then. ended is called when a window that it
// opens is no more.
func (ws *Windows) Enter(token string, quiet time.Duration, write bool, by Origin, ended func()) (_ *Window, err error) {
	defer func() {
		if err != nil {
			ended()
		}
	}()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.open[token]
	switch {
	case w == nil && !write:
		return nil, nil
	case !tokenForm.MatchString(token):
		return nil, &fault.Error{Kind: fault.Conflict, Message: "a window's token is 1 to 128 letters, digits, spaces or ._~@:/-"}
	case w == nil && len(ws.open) >= maxWindows:
		return nil, &fault.Error{Kind: fault.Conflict, Message: fmt.Sprintf("there are %d windows open: publish or drop one", maxWindows)}
	case w == nil:
		d := draft.New(ws.config.store)
		w = &Window{Config: New(d, ws.config.schema, ws.config.checker, ws.config.now), Token: token, Quiet: quiet, Since: ws.config.now(), draft: d, ended: ended}
		ws.open[token] = w
		select {
		case ws.wake <- struct{}{}:
		default:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if write {
		w.by = by
	}
	return w, nil
}

// Leave ends a call. gone says that its client went away before it was answered: then what
// the client meant to do is not known to be whole, and nothing of it is published by itself.
func (ws *Windows) Leave(w *Window, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls--
	w.used = ws.config.now()
	w.broken = w.broken || gone
}

// List returns the open windows, by token.
func (ws *Windows) List() []*Window {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	list := make([]*Window, 0, len(ws.open))
	for _, w := range ws.open {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *Window) int { return cmp.Compare(a.Token, b.Token) })
	return list
}

// Drop forgets a window and reports whether there was one.
func (ws *Windows) Drop(token string) bool {
	ws.mu.Lock()
	w := ws.open[token]
	delete(ws.open, token)
	ws.mu.Unlock()
	if w != nil {
		w.ended()
	}
	return w != nil
}

// Published is what became of a window.
type Published struct {
	Revision store.Revision
	Entities int
}

// Publish makes a window's changes live as one revision. When they cannot be, the window stays
// as it is and the fault says what is in the way.
func (ws *Windows) Publish(ctx context.Context, token string, by Origin) (*Published, error) {
	w, err := ws.take(token, (*Window).busy)
	if err != nil {
		return nil, err
	}
	return ws.publish(ctx, w, by)
}

// take removes a window, so that a write that comes now opens the next one.
func (ws *Windows) take(token string, unless func(*Window) bool) (*Window, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.open[token]
	if w == nil {
		return nil, &fault.Error{Kind: fault.NotFound, Message: "there is no window with this token"}
	}
	if unless(w) {
		return nil, errBusy
	}
	delete(ws.open, token)
	return w, nil
}

var errBusy = &fault.Error{Kind: fault.Conflict, Message: "a call of this window is under way"}

func (ws *Windows) publish(ctx context.Context, w *Window, by Origin) (*Published, error) {
	ops := w.draft.Ops()
	rev, err := ws.config.store.Commit(ctx, store.Commit{
		Ops: ops, Actor: by.Actor, Client: cmp.Or(w.by.Client, by.Client), Message: cmp.Or(by.Message, w.by.Message, "window "+w.Token),
	})
	if err == nil {
		w.ended()
		return &Published{Revision: rev, Entities: len(ops)}, nil
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.open[w.Token] == nil {
		ws.open[w.Token] = w
	}
	return nil, w.fault(err)
}

func (w *Window) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls > 0
}

// fault names the entity that changed meanwhile.
func (w *Window) fault(err error) error {
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Kind == "" {
		return w.Config.fault(nil, nil, err)
	}
	name := conflict.Kind + " " + conflict.ID
	t := w.schema.Table(conflict.Kind)
	if o, gerr := w.store.Get(context.Background(), conflict.Kind, conflict.ID); gerr == nil && t != nil {
		if m, merr := t.Unmarshal(o.Body); merr == nil && t.EndpointValue(m) != "" {
			name += " (" + t.EndpointValue(m) + ")"
		}
	}
	return &fault.Error{Kind: fault.Conflict, Err: err, Message: name + " was changed by another write since this window touched it; drop the window, or take that change back"}
}

// Run publishes windows that became quiet and forgets those that nobody comes back to, until
// ctx ends.
func (ws *Windows) Run(ctx context.Context) error {
	for {
		next := ws.sweep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ws.wake:
		case <-time.After(next):
		}
	}
}

// sweepAtMost bounds how long Run sleeps.
const sweepAtMost = time.Minute

// sweep does what is due and tells when it is to be called again.
func (ws *Windows) sweep(ctx context.Context) time.Duration {
	next := sweepAtMost
	for _, w := range ws.List() {
		due, broken := w.due(ws.config.now())
		switch {
		case due > 0:
			next = min(next, due)
		case w.Quiet == 0 || broken:
			ws.Drop(w.Token)
			ws.log.Warn("a change window was dropped: nothing of it is live", "token", w.Token, "entities", w.Len(), "client_went_away", broken)
		default:
			ws.publishQuiet(ctx, w)
		}
	}
	return next
}

// due is how long it is until something is due for the window, and whether its client is gone.
func (w *Window) due(now time.Time) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	after := w.Quiet
	if after == 0 {
		after = windowIdleFor
	}
	if w.calls > 0 {
		return after, false
	}
	return w.used.Add(after).Sub(now), w.broken
}

func (ws *Windows) publishQuiet(ctx context.Context, w *Window) {
	_, err := ws.take(w.Token, func(w *Window) bool {
		due, broken := w.due(ws.config.now())
		return due > 0 || broken
	})
	if err != nil {
		return // it came back to life
	}
	if w.Len() == 0 {
		w.ended() // it only read
		return
	}
	p, err := ws.publish(ctx, w, Origin{Actor: w.by.Actor})
	if err != nil {
		ws.Drop(w.Token) // its client is done and cannot mend it
		ws.log.Error("a client's run could not be published: nothing of it is live", "client", w.Token, "entities", w.Len(), "error", err)
		return
	}
	ws.log.Info("a client's run is published", "client", w.Token, "entities", p.Entities, "revision", p.Revision.Rev)
}
