package block

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Run follows what other replicas did, and removes what has ended, until ctx ends. An outage of
// the store leaves things as they were.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for failing := false; ; {
		err := d.Refresh(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			d.Log.WarnContext(ctx, "blocks are not refreshed; what is blocked stays so until its end", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Refresh reads what is stored, once.
func (d *Desk) Refresh(ctx context.Context) error {
	d.one.Lock()
	defer d.one.Unlock()
	all, err := d.load(ctx)
	if err != nil {
		return err
	}
	digest := digest(all)
	d.mu.Lock()
	same := d.read && digest == d.digest
	d.mu.Unlock()
	ahead := time.Duration(0)
	if len(all) > 0 {
		now, err := d.Store.Now(ctx)
		if err != nil {
			return away(err)
		}
		ahead = now.Sub(d.Now())
		if err := d.sweep(ctx, all, now); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.read, d.list, d.digest, d.ahead = true, all, digest, ahead
	d.mu.Unlock()
	if !same && d.Changed != nil {
		d.Changed()
	}
	return nil
}

// sweep removes what has ended. Nodes have let go of it themselves.
func (d *Desk) sweep(ctx context.Context, all []kept, now time.Time) error {
	var conflict *store.ConflictError
	for _, k := range all {
		if now.Before(k.is.GetUntil().AsTime()) {
			continue
		}
		if err := d.Store.Write(ctx, []store.Record{ending(k)}); err != nil && !errors.As(err, &conflict) {
			return away(err)
		}
		d.Log.InfoContext(ctx, "block has ended", "kind", k.is.GetKind(), "name", k.is.GetName(), "by", k.is.GetBy(), "reason", k.is.GetReason())
	}
	return nil
}

func (d *Desk) load(ctx context.Context) ([]kept, error) {
	records, err := d.Store.Records(ctx, recordKind)
	if err != nil {
		return nil, away(err)
	}
	all := make([]kept, len(records))
	for i, r := range records {
		all[i] = kept{&controlv1.Block{}, r}
		if err := proto.Unmarshal(r.Body, all[i].is); err != nil {
			return nil, fmt.Errorf("read block %s: %w", r.ID, err)
		}
	}
	return all, nil
}

// digest names exactly these blocks; 0 is none. All replicas get the same.
func digest(all []kept) uint64 {
	if len(all) == 0 {
		return 0
	}
	h := fnv.New64a()
	for _, k := range all {
		h.Write([]byte(k.record.ID))
		h.Write(binary.BigEndian.AppendUint64([]byte{0}, k.record.Version))
		h.Write(k.record.Body) // versions begin anew when a record is made again
	}
	return max(h.Sum64(), 1)
}

// Digest names what is blocked now.
func (d *Desk) Digest() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.digest
}

// List is what is blocked, by kind and name.
func (d *Desk) List() []*controlv1.Block {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now().Add(d.ahead)
	var all []*controlv1.Block
	for _, k := range d.list {
		if now.Before(k.is.GetUntil().AsTime()) {
			all = append(all, k.is)
		}
	}
	slices.SortFunc(all, func(a, b *controlv1.Block) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all
}

// Current is what nodes must refuse from now on; nil while the store was never read, and nodes
// keep what they have.
func (d *Desk) Current() *feedv1.Blocks {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.read {
		return nil
	}
	now := d.Now().Add(d.ahead)
	out := &feedv1.Blocks{Digest: d.digest}
	for _, k := range d.list {
		left := k.is.GetUntil().AsTime().Sub(now)
		if left <= 0 {
			continue
		}
		out.Blocks = append(out.Blocks, &feedv1.Block{
			Kind: k.is.GetKind(), Target: k.is.GetTarget(), Left: durationpb.New(left),
			Until: k.is.GetUntil(), By: k.is.GetBy(), Reason: k.is.GetReason(),
		})
	}
	return out
}
