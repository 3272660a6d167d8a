package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// errHash says that what the node would hold is not what the control plane means.
var errHash = errors.New("set hash differs")

// errCrashed says that the node died of a revision before.
var errCrashed = errors.New("the node died while it applied this revision")

// Bounds of a refusal: how many objects it names (the rest is as broken), and how long a
// text is. A refusal must arrive: without it the node is not left where it is.
const (
	maxViolations = 100
	maxText       = 1 << 10
	maxMessage    = 4 << 10
)

// enforce makes a complete stage what the node runs, or tells why not.
func (c *Client) enforce(ctx context.Context, s *stage) error {
	m := s.move(c.running())
	if err := c.check(m); err != nil {
		return err
	}
	if err := c.guard.begin(m.To); err != nil {
		c.Log.WarnContext(ctx, "crash guard is not written", "error", err)
	}
	if err := c.apply(ctx, m); err != nil {
		c.guard.abandon()
		return err
	}
	c.enforced(m)
	return nil
}

// check refuses what must not even be tried.
func (c *Client) check(m Move) error {
	if c.guard.died(m.To) {
		return errCrashed
	}
	f, t := m.From, m.To
	if f.Epoch == t.Epoch && f.Generation >= t.Generation &&
		(f.Generation > t.Generation || f.Staged > t.Staged || f.Live > t.Live) {
		return fmt.Errorf("%d.%d.%d is behind %d.%d.%d, which runs",
			t.Generation, t.Staged, t.Live, f.Generation, f.Staged, f.Live)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.set.after(m.Full, m.Changes); got != t.Hash {
		return fmt.Errorf("%w: %v, want %v", errHash, got, t.Hash)
	}
	return nil
}

// apply calls the applier. A compiler that panics on an object refuses it: the graph that
// serves is not touched before the swap.
func (c *Client) apply(ctx context.Context, m Move) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("apply panicked: %v", p)
		}
	}()
	return c.Applier.Apply(ctx, m)
}

// enforced notes that m.To is in force, and leaves it to the disk.
func (c *Client) enforced(m Move) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	c.set.apply(m.Full, m.Changes, m.To.Hash)
	c.status.Running, c.status.AppliedAt, c.status.Refusal = m.To, now, nil
	c.guard.applied(m.To, now)
	if c.disk != nil {
		c.disk.append(m)
		c.join()
	}
}

// refuse returns the answer that says no to a position.
func (c *Client) refuse(to Pos, why error) *rpcstatus.Status {
	r := &feedv1.Refusal{
		Running: c.running().Proto(), Refused: to.Proto(), Crashed: errors.Is(why, errCrashed),
		Violations: violations(why),
	}
	c.mu.Lock()
	c.status.Refusal = r
	c.mu.Unlock()
	code := codes.InvalidArgument
	if errors.Is(why, errHash) {
		code = codes.DataLoss // asks for everything
	}
	return answer(code, why.Error(), r)
}

func violations(why error) []*feedv1.Violation {
	var refused *Refused
	if !errors.As(why, &refused) {
		return []*feedv1.Violation{{Reason: text(why.Error(), maxText)}}
	}
	all := make([]*feedv1.Violation, 0, len(refused.Violations))
	for _, v := range refused.Violations {
		if len(all) == maxViolations {
			break
		}
		all = append(all, &feedv1.Violation{
			Object: text(v.Object, maxText), Field: text(v.Field, maxText), Reason: text(v.Reason, maxText),
		})
	}
	return all
}

// text makes s fit for a message: not too long, and UTF-8.
func text(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func answer(code codes.Code, message string, refusals ...*feedv1.Refusal) *rpcstatus.Status {
	s := &rpcstatus.Status{Code: int32(code), Message: text(message, maxMessage)}
	for _, r := range refusals {
		if d, err := anypb.New(r); err == nil { // it fails on invalid UTF-8 alone: see text
			s.Details = append(s.Details, d)
		}
	}
	return s
}
