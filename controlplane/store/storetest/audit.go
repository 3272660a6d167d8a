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
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				at := time.Unix(int64(w), int64(i)*1000)
				if e, err := d.AppendAudit(ctx, at, fmt.Appendf(nil, "%d %d", w, i)); err != nil || e.Seq == 0 || !e.At.Equal(at) {
					d.Errorf("AppendAudit = %+v, %v", e, err)
				}
			}
		})
	}
	wg.Wait()
	var before []byte
	seen := map[string]bool{}
	for after := uint64(0); after < writers*each; {
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
	if len(seen) != writers*each {
		d.Errorf("%d of %d entries", len(seen), writers*each)
	}
	if head, err := d.AuditHead(ctx); err != nil || head != writers*each {
		d.Errorf("AuditHead = %d, %v", head, err)
	}
	if rest, err := d.AuditEntries(ctx, writers*each, 7); err != nil || len(rest) != 0 {
		d.Errorf("AuditEntries behind the last = %v, %v", rest, err)
	}
}
