package storetest

import (
	"bytes"
	"context"
	"fmt"
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
	var before []byte
	seen := map[string]bool{}
	for after := uint64(0); after < all; {
		page, err := d.AuditEntries(ctx, after, 7)
		if err != nil || len(page) == 0 {
			d.Fatalf("AuditEntries(%d) = %d, %v", after, len(page), err)
		}
		for _, e := range page {
			if after++; e.Seq != after || !bytes.Equal(e.Hash, store.AuditHash(before, e)) {
				d.Fatalf("entry %d = %+v behind %x", after, e, before)
			}
			before = e.Hash
			seen[string(e.Body)] = true
		}
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
