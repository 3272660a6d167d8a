package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
)

// Revert is a change that takes others back. The entities are written as they were stored, so
// that what comes back is what was there, times and generated values included.
type Revert struct {
	// Rev is the revision that is taken back; with To, the one whose whole state comes back.
	Rev    uint64
	To     bool
	DryRun bool
}

// Revert writes a revision that takes others back, or nothing. It returns what it changes. An
// entity that changed again after the revision that is taken back is a conflict: taking back
// only the older change would lose the newer one.
func (c *Config) Revert(ctx context.Context, r Revert, by Origin) (store.Revision, []Change, error) {
	head, err := c.store.Head(ctx)
	if err != nil {
		return store.Revision{}, nil, c.fault(nil, nil, err)
	}
	if err := inHistory(head, r); err != nil {
		return store.Revision{}, nil, err
	}
	from, to := r.Rev, r.Rev-1
	if r.To {
		from, to = head.Rev, r.Rev
	}
	changes, err := c.Between(ctx, from, to)
	if err != nil {
		return store.Revision{}, nil, err
	}
	commit := store.Commit{
		IfHead: &head.Rev, DryRun: r.DryRun,
		Actor: by.Actor, Client: by.Client, Message: by.Message, RequestID: by.RequestID,
	}
	for _, ch := range changes {
		op, err := c.back(ctx, ch, r)
		if err != nil {
			return store.Revision{}, nil, err
		}
		commit.Ops = append(commit.Ops, op)
	}
	rev, err := c.store.Commit(ctx, commit)
	return rev, changes, c.fault(nil, nil, err)
}

func inHistory(head store.Head, r Revert) error {
	oldest := head.Floor
	if !r.To {
		oldest++ // its before must be kept
	}
	switch {
	case r.Rev > head.Rev:
		return refusal(fault.NotFound, "revision %d does not exist; head is %d", r.Rev, head.Rev)
	case r.Rev < oldest:
		return refusal(fault.NotFound, "revision %d is not in the history; the oldest is %d", r.Rev, oldest)
	}
	return nil
}

func refusal(kind fault.Kind, format string, args ...any) error {
	return &fault.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// back is the write that makes an entity what it was.
func (c *Config) back(ctx context.Context, ch Change, r Revert) (store.Op, error) {
	have, err := c.store.Get(ctx, ch.Kind, ch.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		have = &store.Object{}
	case err != nil:
		return store.Op{}, c.fault(nil, nil, err)
	}
	if !r.To && (!bytes.Equal(have.Body, ch.Before) || (have.Body == nil) != (ch.Before == nil)) {
		return store.Op{}, refusal(fault.Conflict, "%s %s changed again after revision %d, in revision %d: take that back first",
			ch.Kind, ch.ID, r.Rev, max(have.Rev, r.Rev+1))
	}
	if ch.After == nil {
		return store.Op{Object: store.Object{Kind: ch.Kind, ID: ch.ID}}, nil
	}
	e, err := c.Decode(ch.Kind, ch.ID, ch.Rev, ch.After)
	if err != nil {
		return store.Op{}, err
	}
	// What a gate cannot compile any more does not come back.
	if err := c.checker.Check(ch.Kind, e.Message); err != nil {
		return store.Op{}, fmt.Errorf("%s %s: %w", ch.Kind, ch.ID, err)
	}
	return putOp(e.Table, e.ID, e.Message)
}

// Between returns what is different between two revisions, entity by entity, in the order in
// which they first changed. From may be above to: then it is the way back.
func (c *Config) Between(ctx context.Context, from, to uint64) ([]Change, error) {
	merged, order := map[string]*Change{}, []string{}
	if from != to { // to 0 would mean head
		for ch, err := range c.store.Changes(ctx, min(from, to), max(from, to)) {
			if err != nil {
				return nil, c.fault(nil, nil, err)
			}
			name := ch.Kind + "/" + ch.ID
			if m := merged[name]; m != nil {
				m.After, m.Rev = ch.After, ch.Rev
				continue
			}
			merged[name] = &ch
			order = append(order, name)
		}
	}
	changes := make([]Change, 0, len(order))
	for _, name := range order {
		ch := *merged[name]
		if bytes.Equal(ch.Before, ch.After) && (ch.Before == nil) == (ch.After == nil) {
			continue
		}
		if from > to {
			ch.Before, ch.After = ch.After, ch.Before
		}
		changes = append(changes, ch)
	}
	return changes, nil
}
