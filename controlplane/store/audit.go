package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// AuditEntry is one line of the audit log. Each hash covers the one before, so that nothing
// in the middle can be changed, left out or put in without all that follows being wrong.
type AuditEntry struct {
	Seq  uint64 // from 1, without gaps
	At   time.Time
	Body []byte
	Hash []byte
}

// Audit is the append-only log of what was done. All methods may be called concurrently.
type Audit interface {
	// AppendAudit writes entries behind the last one, all or none, and returns them as they
	// are now: of those given only At, which is kept in microseconds, and Body count.
	AppendAudit(ctx context.Context, entries []AuditEntry) ([]AuditEntry, error)

	// AuditEntries returns up to size entries after a number, ascending.
	AuditEntries(ctx context.Context, after uint64, size int) ([]AuditEntry, error)

	// AuditHead is the number of the last entry; 0 when there is none.
	AuditHead(ctx context.Context) (uint64, error)
}

// AuditHash is the hash of e behind an entry whose hash is before (nil: there is none).
func AuditHash(before []byte, e AuditEntry) []byte {
	h := sha256.New()
	h.Write(before)
	var head [16]byte
	binary.BigEndian.PutUint64(head[:8], e.Seq)
	binary.BigEndian.PutUint64(head[8:], uint64(e.At.UnixMicro()))
	h.Write(head[:])
	h.Write(e.Body)
	return h.Sum(nil)
}
