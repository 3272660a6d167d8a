package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/xds"
	"github.com/sekifuda/sekifuda/model/fault"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// maxPoison bounds the refusals that wait to be looked at; one that is dropped comes again when
// its node is asked again.
const maxPoison = 64

// poison takes back what nodes cannot compile although the desk could. One node of a group tries a
// revision before the others, so what it refuses runs nowhere: a revision that takes the change
// back lets all later ones through, and the refused one stays in the history to be mended.
type poison struct {
	xds.Observer
	fleet  *fleet.Fleet
	config *config.Config
	log    *slog.Logger
	found  chan *feedv1.Refusal
}

func newPoison(o xds.Observer, f *fleet.Fleet, c *config.Config, log *slog.Logger) *poison {
	return &poison{Observer: o, fleet: f, config: c, log: log, found: make(chan *feedv1.Refusal, maxPoison)}
}

// Refused implements xds.Observer.
func (p *poison) Refused(stream int64, r *feedv1.Refusal, message string) {
	p.Observer.Refused(stream, r, message)
	select {
	case p.found <- r:
	default:
	}
}

// run looks at refusals until ctx ends.
func (p *poison) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-p.found:
			if err := p.takeBack(ctx, r); err != nil && ctx.Err() == nil {
				p.log.ErrorContext(ctx, "a refused revision is not taken back; seki nodes names the object", "revision", r.GetRefused().GetStagedRev(), "error", err)
			}
		}
	}
}

// takeBack reverts the revisions that brought the objects of a refusal, unless somebody runs them.
// Every replica may see the same refusal: the request id makes one revision of all.
func (p *poison) takeBack(ctx context.Context, r *feedv1.Refusal) error {
	at := r.GetRefused()
	if at.GetStagedRev() != at.GetLiveRev() || len(r.GetViolations()) == 0 {
		return nil // its group does not follow head: a release looks after itself
	}
	head, err := p.config.Head(ctx)
	if err != nil {
		return err
	}
	if head.Epoch != at.GetEpoch() || p.fleet.Runs(head.Epoch, at.GetStagedRev()) {
		return nil
	}
	done := map[uint64]bool{}
	for _, v := range r.GetViolations() {
		rev, err := p.bringer(ctx, v, r)
		if err != nil {
			return err
		}
		if rev == 0 || done[rev] {
			continue
		}
		done[rev] = true
		why := fmt.Sprintf("a node refused %s: %s", v.GetObject(), v.GetReason())
		back, _, err := p.config.Revert(ctx, config.Revert{Rev: rev}, config.Origin{
			Actor: "sekifuda", Client: "sekifuda", Message: why, RequestID: fmt.Sprintf("refused-%s-%d", head.Epoch, rev),
		})
		if fault.Is(err, fault.Conflict) {
			continue // somebody mends it already
		}
		if err != nil {
			return err
		}
		p.log.ErrorContext(ctx, "a refused revision is taken back", "revision", rev, "by", back.Rev, "object", v.GetObject(), "reason", v.GetReason())
	}
	return nil
}

// bringer is the newest revision that touched a refused object, 0 when the node runs it already.
func (p *poison) bringer(ctx context.Context, v *feedv1.Violation, r *feedv1.Refusal) (uint64, error) {
	kind, id, ok := strings.Cut(v.GetObject(), "/")
	if !ok {
		return 0, errors.New("the refusal names no object: " + v.GetObject())
	}
	revs, err := p.config.Revisions(ctx, config.RevisionQuery{Kind: kind, ID: id, Size: 1})
	if err != nil || len(revs) == 0 || revs[0].Rev <= r.GetRunning().GetStagedRev() {
		return 0, err
	}
	return revs[0].Rev, nil
}
