// Package config is the desk's use cases: every change of configuration, whoever asks and
// by whichever API, is validated here and written as one revision.
//
// It knows tables, faults and the store's contract; it knows neither HTTP, gRPC nor SQL.
// Enter at Config.
package config

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/scope"
	"github.com/sekifuda/sekifuda/model/schema"
)

// Checker compiles an entity as a gate would, without effect. It refuses what a table
// cannot see to be wrong: a regex that does not compile, a template with an unknown word.
// The error is in the user's words.
type Checker interface {
	Check(kind string, entity proto.Message) error
}

// Config reads and changes configuration. It is safe for concurrent use.
type Config struct {
	store   store.Store
	schema  *schema.Schema
	checker Checker
	now     func() time.Time
}

// New returns the use cases over a store, which write what who asks may write. now is the clock by which entities are dated.
func New(s store.Store, sc *schema.Schema, checker Checker, now func() time.Time) *Config {
	return &Config{store: scope.New(s), schema: sc, checker: checker, now: now}
}

// Schema returns the tables by which this configuration is read.
func (c *Config) Schema() *schema.Schema { return c.schema }

// Entity is one stored thing.
type Entity struct {
	Table   *schema.Table
	ID      string
	Rev     uint64
	Message proto.Message
}

// Under is the owner through which an entity was addressed: it must refer to that owner,
// and a write makes it do so.
type Under struct {
	Field string // field of the entity that refers to the owner
	ID    string
}

// Origin is who asks for a change and why; it is kept with the revision.
type Origin struct {
	Actor     string
	Client    string
	Message   string
	RequestID string
}

// Result is an entity as a change left it, and the revision that did.
type Result struct {
	Entity
	Revision store.Revision
}

// Head returns the head revision.
func (c *Config) Head(ctx context.Context) (store.Head, error) { return c.store.Head(ctx) }

// Ping reports whether the database answers.
func (c *Config) Ping(ctx context.Context) error { return c.store.Ping(ctx) }

// The store's words that callers of the use cases need.
type (
	// Tag is one tag on one entity.
	Tag = store.Tag
	// TagQuery selects tags.
	TagQuery = store.TagQuery
	// Revision is one committed number with its origin.
	Revision = store.Revision
	// RevisionQuery selects revisions, newest first.
	RevisionQuery = store.RevisionQuery
	// Change is one entity before and after a revision, encoded.
	Change = store.Change
)
