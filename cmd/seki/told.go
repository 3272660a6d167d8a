package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/guard"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// head is the last revision there is.
func (c *client) head(ctx context.Context) (uint64, error) {
	st, err := c.fleet.Status(ctx, &controlv1.StatusRequest{})
	if err == nil && !st.GetDatabaseReachable() {
		err = fmt.Errorf("the control plane at %s does not reach its database", c.addr)
	}
	return st.GetHead(), err
}

// revisionsTold are the revisions that the log tells of, as it is read.
type revisionsTold struct {
	count       int
	first, last uint64          // written with their entries
	missing     map[uint64]bool // between those
	apart       map[uint64]bool // told by an older version, which wrote the entry by itself
}

func (r *revisionsTold) add(e *controlv1.AuditEntry) error {
	v := &controlv1.AuditEvent{}
	if err := proto.Unmarshal(e.GetBody(), v); err != nil {
		return fmt.Errorf("entry %d: %w", e.GetSeq(), err)
	}
	rev := v.GetRevision()
	switch {
	case rev == 0:
		return nil
	case v.GetResult() != guard.Committed:
		if delete(r.missing, rev); r.apart == nil {
			r.apart = map[uint64]bool{}
		}
		r.apart[rev] = true
		return nil
	case rev <= r.last:
		return fmt.Errorf("the audit log is damaged: entry %d tells of revision %d, and one before it of revision %d", e.GetSeq(), rev, r.last)
	case r.first == 0:
		r.first = rev
	}
	r.leave(max(r.first, r.last+1), rev)
	r.count++
	r.last = rev
	return nil
}

// leave notes that [from, to) is not told of.
func (r *revisionsTold) leave(from, to uint64) {
	for rev := from; rev < to && len(r.missing) < maxMissing; rev++ {
		if r.apart[rev] {
			continue
		}
		if r.missing == nil {
			r.missing = map[uint64]bool{}
		}
		r.missing[rev] = true
	}
}

// maxMissing bounds how many revisions without an entry are kept: one is enough to say so.
const maxMissing = 1000

// check holds what is told to the history, whose head was before and after the log was read.
func (r *revisionsTold) check(before, after uint64) error {
	if r.first > 0 {
		r.leave(r.last+1, before+1)
	}
	if len(r.missing) > 0 {
		return fmt.Errorf("revision %d has no entry in the audit log", slices.Min(slices.Collect(maps.Keys(r.missing))))
	}
	if r.last > after {
		return fmt.Errorf("the audit log tells of revision %d, and the history ends with %d", r.last, after)
	}
	return nil
}
