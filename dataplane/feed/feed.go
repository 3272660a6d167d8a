// Package feed keeps a node on the configuration that its control plane wants it to run, and
// on the last good one when there is no control plane.
//
// It knows the stream, positions and the node's disk. It does not know what an entity means:
// an Applier compiles and swaps, or refuses. A move is whole or not at all: its chunks are
// staged, checked against the set hash, applied, acknowledged, and then written to disk
// beside. Enter at New, Boot and Run.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Pos is where a node stands.
type Pos = feedv1.Pos

// Change is one entity as it is after a move; Body is nil when it is gone, and never nil
// otherwise. Nobody may change Body.
type Change struct {
	Kind string
	ID   string
	Rev  uint64
	Body []byte
}

// Move is one whole step from what the node runs to what it is to run.
type Move struct {
	From Pos
	To   Pos
	// Full says that Changes are all entities there are: whatever else the node runs is gone.
	Full    bool
	Changes []Change
}

// Applier compiles a move and swaps it in.
type Applier interface {
	// Apply returns nil once m.To is what the node enforces. Any error leaves what ran before
	// in force and refuses m.To; a *Refused names the objects. Calls do not overlap.
	Apply(ctx context.Context, m Move) error
}

// Violation names one object that could not be compiled.
type Violation struct {
	Object string // "<kind>/<id>"
	Field  string
	Reason string
}

// Refused is an Applier's no.
type Refused struct{ Violations []Violation }

func (r *Refused) Error() string {
	var b strings.Builder
	for i, v := range r.Violations {
		if b.Len() > maxMessage {
			fmt.Fprintf(&b, "; and %d more", len(r.Violations)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(text(v.Object, maxText))
		if v.Field != "" {
			b.WriteString(" " + text(v.Field, maxText))
		}
		b.WriteString(": " + text(v.Reason, maxText))
	}
	return b.String()
}

// Clock tells the time.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type wall struct{}

func (wall) Now() time.Time                         { return time.Now() }
func (wall) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Options are what a Client is built with.
type Options struct {
	Conn    grpc.ClientConnInterface // to the control plane; see Dial
	Applier Applier
	// Identity is renewed while the client runs; nil: the connection proves nothing.
	Identity *Identity

	NodeID   string
	Group    string // claimed; a certificate's group wins
	Version  string // of this build: a refusal does not outlive it
	Hostname string
	Labels   map[string]string

	// Dir keeps the last good configuration, its key and the crash guard; "" keeps nothing.
	Dir string

	// Stats returns what the exchanges of each revision came to since it was last called;
	// nil: nothing to report.
	Stats func() []*feedv1.RevisionStats
	// Direct takes what the control plane asks for; nil: ignored. It must not wait.
	Direct func(*feedv1.ReportResponse)
	// Answer answers the control plane's questions, one at a time; nil: none is. It may wait
	// within ctx.
	Answer func(ctx context.Context, q *feedv1.Question) *feedv1.Answer

	// Block refuses all of b and nothing else, whatever the configuration says, from when it
	// returns; each for as long as b says since heard. nil: nothing is ever blocked.
	Block func(b *feedv1.Blocks, heard time.Time)

	Clock Clock // nil: the wall's
	Log   *slog.Logger
}

// Status is where a client stands.
type Status struct {
	Running   Pos // zero: nothing
	AppliedAt time.Time
	Connected bool
	OnDisk    bool            // Running would survive a restart without a control plane
	DiskError error           // why not, when the disk is at fault
	Refusal   *feedv1.Refusal // of the last move, when it was refused
}

// Client is a node's end of the feed. Boot comes before Run; Status may be called at any time.
type Client struct {
	Options
	guard *guard
	disk  *disk                                // nil without Dir
	group string                               // in which Running was assigned
	pause func(time.Duration) <-chan time.Time // before a stream is opened again

	mu     sync.Mutex
	set    set
	status Status
}

// New returns a client, having read the crash guard and the key in o.Dir, which it makes when
// they are missing.
func New(o Options) (*Client, error) {
	if o.Applier == nil || o.NodeID == "" {
		return nil, errors.New("a feed needs an applier and a node id")
	}
	if o.Identity != nil && !o.Identity.Enrolled() {
		return nil, errors.New("a feed with an identity needs one that has enrolled")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = wall{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{Options: o, set: newSet(), pause: o.Clock.After}
	var err error
	if c.guard, err = openGuard(o.Dir, o.Version); err != nil {
		return nil, fmt.Errorf("open crash guard: %w", err)
	}
	if o.Dir == "" {
		return c, nil
	}
	if c.disk, err = openDisk(o.Dir, c); err != nil {
		return nil, fmt.Errorf("open last good configuration: %w", err)
	}
	if c.group, err = readGroup(o.Dir); err != nil {
		return nil, fmt.Errorf("read group: %w", err)
	}
	return c, nil
}

// check refuses what could not be said on the wire.
func (o *Options) check() error {
	said := map[string]string{"node id": o.NodeID, "group": o.Group, "version": o.Version, "hostname": o.Hostname}
	for k, v := range o.Labels {
		said["label "+k] = k + v
	}
	for what, v := range said {
		if !utf8.ValidString(v) {
			return fmt.Errorf("%s %q is not UTF-8", what, v)
		}
	}
	return nil
}

// Status tells where the client stands.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	if c.disk != nil {
		at, err := c.disk.state()
		s.DiskError = err
		s.OnDisk = at == s.Running && s.Running != (Pos{})
	}
	return s
}

func (c *Client) running() Pos {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Running
}

// Run stays connected until ctx ends, and then returns nil.
func (c *Client) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.guard.run(ctx, c.Clock) })
	if c.disk != nil {
		wg.Go(func() { c.disk.run(ctx) })
	}
	if c.Conn != nil {
		wg.Go(func() { c.retry(ctx, "configuration stream", c.session) })
		wg.Go(func() { c.retry(ctx, "report stream", c.report) })
		if c.Identity != nil {
			wg.Go(func() { c.Identity.renewing(ctx, c.Conn, c.Log) })
		}
	}
	wg.Wait()
	c.guard.end(c.Clock.Now())
	if c.disk != nil {
		c.disk.close()
	}
	return nil
}
