package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// audit shows the log of what was done, or proves that it is whole.
func audit(ctx context.Context, c *call) error {
	f := c.flags("[list|verify] [FLAGS]")
	f.serverFlag()
	size := f.Uint("size", 20, "list: how many of the newest entries")
	known := f.String("known", "", "verify: NUMBER:HASH as an earlier verify printed it; what came before must not have changed")
	return f.talk(ctx, 0, 1, func(ctx context.Context, cl *client) error {
		switch word := f.Arg(0); word {
		case "", "list":
			return c.listAudit(ctx, cl, uint32(*size))
		case "verify":
			return c.verifyAudit(ctx, cl, *known)
		}
		f.Usage()
		return errUsage
	})
}

func (c *call) listAudit(ctx context.Context, cl *client, size uint32) error {
	res, err := cl.access.ListAudit(ctx, &controlv1.ListAuditRequest{Newest: max(size, 1)})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tAT\tWHO\tFROM\tWHAT\tRESULT\tREVISION\tWHY")
	for _, e := range res.GetEntries() {
		v := &controlv1.AuditEvent{}
		if err := proto.Unmarshal(e.GetBody(), v); err != nil {
			return fmt.Errorf("entry %d: %w", e.GetSeq(), err)
		}
		revision := ""
		if v.GetRevision() > 0 {
			revision = strconv.FormatUint(v.GetRevision(), 10)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.GetSeq(), e.GetAt().AsTime().Local().Format(time.DateTime),
			dash(v.GetWho()), v.GetFrom(), v.GetWhat(), v.GetResult(), dash(revision), dash(v.GetWhy()))
	}
	return w.Flush()
}

// verifyAudit follows the hashes from the first entry, and holds the log and the history to each
// other: every revision since the first that was written with its entry has one. Only who
// remembers an entry can tell whether the end was cut off or all was written anew: it prints one
// to remember.
func (c *call) verifyAudit(ctx context.Context, cl *client, known string) error {
	number, want, err := parseKnown(known)
	if err != nil {
		return err
	}
	var before []byte
	var told revisionsTold
	seq := uint64(0)
	head, err := cl.head(ctx) // what is committed from now on may have its entry behind those read
	if err != nil {
		return err
	}
	for {
		res, err := cl.access.ListAudit(ctx, &controlv1.ListAuditRequest{After: seq})
		if err != nil {
			return err
		}
		for _, e := range res.GetEntries() {
			seq++
			is := store.AuditEntry{Seq: e.GetSeq(), At: e.GetAt().AsTime(), Body: e.GetBody()}
			if e.GetSeq() != seq {
				return fmt.Errorf("the audit log is damaged: entry %d is missing", seq)
			}
			if !bytes.Equal(store.AuditHash(before, is), e.GetHash()) {
				return fmt.Errorf("the audit log is damaged: entry %d, or one before it, is not what was written", seq)
			}
			before = e.GetHash()
			if seq == number && !bytes.Equal(before, want) {
				return fmt.Errorf("the audit log was written anew: entry %d is not the one that is known", seq)
			}
			if err := told.add(e); err != nil {
				return err
			}
		}
		if len(res.GetEntries()) == 0 {
			break
		}
	}
	if seq < number {
		return fmt.Errorf("the audit log was cut off: it ends with entry %d, and %d is known", seq, number)
	}
	after, err := cl.head(ctx)
	if err != nil {
		return err
	}
	if err := told.check(head, after); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "the audit log is whole: %d entries, %d of them of revisions; to remember: %d:%s\n", seq, told.count, seq, hex.EncodeToString(before))
	return err
}

// parseKnown reads NUMBER:HASH.
func parseKnown(s string) (uint64, []byte, error) {
	if s == "" {
		return 0, nil, nil
	}
	number, hash, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	raw, err2 := hex.DecodeString(hash)
	if err != nil || err2 != nil || len(raw) == 0 || n == 0 {
		return 0, nil, fmt.Errorf("--known %q: expected NUMBER:HASH as seki audit verify prints it", s)
	}
	return n, raw, nil
}
