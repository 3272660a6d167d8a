package dataplane

import (
	"context"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/block"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// block refuses what the control plane said at heard, until each has ended by this node's clock.
func (d *DataPlane) block(b *feedv1.Blocks, heard time.Time) {
	entries := make([]block.Entry, 0, len(b.GetBlocks()))
	for _, x := range b.GetBlocks() {
		entries = append(entries, block.Entry{
			Kind: x.GetKind(), Target: x.GetTarget(), Until: heard.Add(x.GetLeft().AsDuration()), Detail: detail(x),
		})
	}
	d.enforce(entries)
}

// enforce puts those entries in force that have not ended; nil: of those that are.
func (d *DataPlane) enforce(entries []block.Entry) {
	d.blocking.Lock()
	defer d.blocking.Unlock()
	if entries == nil {
		entries = d.blocked.Load().Entries()
	}
	set, odd := block.New(entries, d.Now())
	for _, e := range odd {
		d.Log.Error("a block is not understood and not enforced: is this node older than its control plane?", "kind", e.Kind, "target", e.Target)
	}
	d.blocked.Store(set)
	d.engine.Block(set)
	select {
	case d.reblock <- struct{}{}:
	default: // it is about to look
	}
}

// detail is what who asks why is told.
func detail(b *feedv1.Block) string {
	text := fmt.Sprintf("blocked until %s by %s", b.GetUntil().AsTime().UTC().Format("2006-01-02 15:04:05 UTC"), b.GetBy())
	if b.GetReason() != "" {
		text += " because " + b.GetReason()
	}
	return text
}

// expire lets go of blocks as they end, until ctx does. They are not enforced past their end
// even without it: it takes their cost away.
func (d *DataPlane) expire(ctx context.Context) error {
	for {
		var due <-chan time.Time // nil: nothing is to end
		if set := d.blocked.Load(); set != nil {
			due = time.After(set.Next().Sub(d.Now()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.reblock:
		case <-due:
			d.enforce(nil)
		}
	}
}

// blockCounts introduces what is blocked to the metrics, by kind.
func (d *DataPlane) blockCounts() map[string]int {
	n := map[string]int{}
	for _, e := range d.blocked.Load().Entries() {
		n[e.Kind]++
	}
	return n
}
