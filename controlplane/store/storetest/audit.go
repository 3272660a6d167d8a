package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// auditChain has many write to the audit log at once and follows the hashes.
func auditChain(ctx context.Context, d *desk) {
	if head, err := d.AuditHead(ctx); err != nil || head != 0 {
		d.Errorf("AuditHead of an empty log = %d, %v", head, err)
	}
	const writers, each, all = 8, 10, 8 * 10 * 2
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				at := time.Unix(int64(w), int64(i)*1000)
				e, err := d.AppendAudit(ctx, []store.AuditEntry{{At: at, Body: fmt.Appendf(nil, "%d %d a", w, i)}, {At: at, Body: fmt.Appendf(nil, "%d %d b", w, i)}})
				if err != nil || len(e) != 2 || e[1].Seq != e[0].Seq+1 || !e[0].At.Equal(at) {
					d.Errorf("AppendAudit = %+v, %v", e, err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, body := range d.followAudit(ctx, all) {
		seen[body]++
	}
	if len(seen) != all {
		d.Errorf("%d of %d entries", len(seen), all)
	}
	if head, err := d.AuditHead(ctx); err != nil || head != all {
		d.Errorf("AuditHead = %d, %v", head, err)
	}
	if rest, err := d.AuditEntries(ctx, all, 7); err != nil || len(rest) != 0 {
		d.Errorf("AuditEntries behind the last = %v, %v", rest, err)
	}
}

// followAudit follows the hashes of a log of so many entries and returns their bodies.
func (d *desk) followAudit(ctx context.Context, entries uint64) (bodies []string) {
	d.Helper()
	var before []byte
	for after := uint64(0); after < entries; {
		page, err := d.AuditEntries(ctx, after, 7)
		if err != nil || len(page) == 0 {
			d.Fatalf("AuditEntries(%d) = %d, %v", after, len(page), err)
		}
		for _, e := range page {
			if after++; e.Seq != after || !bytes.Equal(e.Hash, store.AuditHash(before, e)) {
				d.Fatalf("entry %d = %+v behind %x", after, e, before)
			}
			before = e.Hash
			bodies = append(bodies, string(e.Body))
		}
	}
	if head, err := d.AuditHead(ctx); err != nil || head != entries {
		d.Fatalf("AuditHead = %d, %v, want %d", head, err, entries)
	}
	return bodies
}

// auditOfRevisions has commits, records and entries of their own written at once: every revision
// has its entry, in its order, and what writes no revision has none.
func auditOfRevisions(ctx context.Context, d *desk) {
	const writers, each = 6, 10
	note := func(rev uint64) []byte { return fmt.Append(nil, rev) }
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				request := fmt.Sprint(w, "-", i)
				for range 2 { // the second is answered with the first one's revision
					if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", w*each+i, "s")}, RequestID: request, Note: note}); err != nil {
						d.Errorf("Commit = %v", err)
					}
				}
				record := store.Record{Kind: "groups", ID: request, Body: []byte("x")}
				if err := d.Write(ctx, []store.Record{record}, store.AuditEntry{Body: []byte("record")}); err != nil {
					d.Errorf("Write = %v", err)
				}
				if err := d.Write(ctx, []store.Record{record}, store.AuditEntry{Body: []byte("refused")}); err == nil {
					d.Error("Write of a record that is there = nil")
				}
				if _, err := d.AppendAudit(ctx, []store.AuditEntry{{Body: []byte("apart")}}); err != nil {
					d.Errorf("AppendAudit = %v", err)
				}
			}
		})
	}
	wg.Wait()
	stale := uint64(1)
	for what, c := range map[string]store.Commit{
		"dry run":         {Ops: []store.Op{put("services", 999, "s")}, DryRun: true},
		"conflict":        {Ops: []store.Op{put("services", 999, "s")}, IfHead: &stale},
		"without ops":     {},
		"changes nothing": {Ops: []store.Op{remove("services", 999)}},
	} {
		c.Note = note
		if r, err := d.Commit(ctx, c); (err != nil) != (what == "conflict") {
			d.Errorf("%s: Commit = %v, %v", what, r, err)
		}
	}
	seen, rev := map[string]int{}, 0
	for _, body := range d.followAudit(ctx, 3*writers*each) {
		if n, err := strconv.Atoi(body); err == nil {
			if rev++; n != rev {
				d.Fatalf("revision %d has its entry behind that of %d", n, rev-1)
			}
			continue
		}
		seen[body]++
	}
	if rev != writers*each || seen["record"] != writers*each || seen["apart"] != writers*each || len(seen) != 2 {
		d.Errorf("entries of %d revisions and %v, want %d of each", rev, seen, writers*each)
	}
}
