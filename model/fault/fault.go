// Package fault holds the errors a user can see and mend. They are made where the truth is
// known and translated twice: to Kong's JSON by adminapi, to a gRPC status by grpcapi.
// Any other error is "internal" to a user; its detail belongs in the log.
package fault

import "errors"

// Kind says what went wrong, in the terms of Kong's Admin API.
type Kind string

// The kinds, each with the name that Kong's error bodies carry.
const (
	InvalidPrimaryKey    Kind = "invalid primary key"
	SchemaViolation      Kind = "schema violation"
	PrimaryKeyViolation  Kind = "primary key violation"
	ForeignKeyViolation  Kind = "foreign key violation"
	UniqueViolation      Kind = "unique constraint violation"
	NotFound             Kind = "not found"
	InvalidOffset        Kind = "invalid offset"
	InvalidSize          Kind = "invalid size"
	InvalidUnique        Kind = "invalid unique"
	InvalidOptions       Kind = "invalid options"
	OperationUnsupported Kind = "operation unsupported"
	ForeignUnresolved    Kind = "foreign keys unresolved"
	InvalidDeclarative   Kind = "invalid declarative configuration"
	ReferencedByOthers   Kind = "referenced by others"

	// Forbidden is ours: who asks may not write this.
	Forbidden Kind = "forbidden"
	// Conflict is ours: an if-match or a concurrent change that could not be resolved.
	Conflict Kind = "conflict"
	// TooLarge is ours: an entity or a batch above its bound.
	TooLarge Kind = "too large"
	// Unavailable is ours: the database does not answer; try again.
	Unavailable Kind = "unavailable"
)

// Error is a fault. Message is a whole sentence in Kong's wording. Fields mirrors the body
// that was refused: field name to a text, to a list, or to a nested tree.
type Error struct {
	Kind    Kind
	Message string
	Fields  Tree
	// Name replaces Kind in the "name" member when Kong says more than the kind
	// ("invalid unique name").
	Name string
	Err  error // cause, for the log
}

// Tree is the mirror of a refused body: string, []any (with nil for valid positions) or
// nested Tree as values.
type Tree map[string]any

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether err is, or wraps, a fault of kind k.
func Is(err error, k Kind) bool {
	var f *Error
	return errors.As(err, &f) && f.Kind == k
}
