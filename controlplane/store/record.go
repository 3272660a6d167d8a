package store

import "context"

// Record is a piece of the control plane's own state: how a group is assigned, how far a
// release is. It is not configuration: no revision has it, and nodes are never sent it.
type Record struct {
	Kind string // plural word: "groups"
	ID   string
	// Version is 1 when the record is written first and grows by one with each write.
	Version uint64
	Body    []byte
}

// Records keeps the control plane's own state. All methods may be called concurrently, and
// all processes of one database see the same.
type Records interface {
	// Records returns all records of a kind, ascending by id.
	Records(ctx context.Context, kind string) ([]Record, error)

	// Write writes all of records or none. Each Version is what the caller read: 0 of one that
	// must not exist yet. A Body that is nil deletes. Who read something older gets a
	// ConflictError that names the record. Notes are written behind the audit log with them, as
	// AppendAudit would: both or neither.
	Write(ctx context.Context, records []Record, notes ...AuditEntry) error
}
