// Package storetest is the contract of package store as tests. Every store runs the same
// suite against its real database.
//
// It does not know how a store is made; it is given a function that opens an empty one.
// Enter at Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Open opens an empty store that is released when t ends. It is called once for each test,
// from many goroutines.
type Open func(t *testing.T) store.Store

// patience bounds what must happen in the end; a busy machine may need long.
const patience = 60 * time.Second

// Run holds a store to its contract, but for the tests named: a store before another one may
// have a reason.
func Run(t *testing.T, open Open, without ...string) {
	for name, test := range tests {
		if slices.Contains(without, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test(ctx, &desk{T: t, Store: open(t), ctx: ctx})
		})
	}
}

var tests = map[string]func(context.Context, *desk){
	"empty store":                             emptyStore,
	"renewed epoch":                           renew,
	"counts":                                  counts,
	"dry run":                                 dryRun,
	"put, get, replace, delete":               putGetReplaceDelete,
	"empty body is no deletion":               emptyBody,
	"one commit, one revision":                oneCommitOneRevision,
	"commit that changes nothing":             changesNothing,
	"one change row for an object":            oneChangeRow,
	"all ops or none":                         allOrNone,
	"if-match":                                ifMatch,
	"if-head":                                 ifHead,
	"request id":                              requestID,
	"key names its holder":                    keyNamesHolder,
	"keys move inside a commit":               keysMove,
	"keys are apart by kind and index":        keysApart,
	"keys and tags of any bytes":              anyBytes,
	"notes of any bytes":                      notesOfAnyBytes,
	"references must exist":                   referencesMustExist,
	"what is referred to stays":               referredStays,
	"cascade inside a commit":                 cascade,
	"referrers":                               referrers,
	"list pages":                              listPages,
	"list by tags":                            listByTags,
	"list by reference":                       listByReference,
	"tags":                                    tagPages,
	"load equals replay":                      loadEqualsReplay,
	"load of another time":                    loadOfAnotherTime,
	"changes from a revision to another":      changesBetween,
	"revisions":                               revisions,
	"bounds":                                  bounds,
	"malformed commits and queries":           malformed,
	"one of many wins a key":                  oneWins,
	"many writers leave no gap":               noGaps,
	"tail misses nothing":                     tailMissesNothing,
	"guilty commit fails alone":               guiltyFailsAlone,
	"request id sent at once":                 requestIDRace,
	"audit log is one chain":                  auditChain,
	"every revision has its entry":            auditOfRevisions,
	"secret is one for all":                   secretRace,
	"records":                                 records,
	"one of many writes a record":             recordRace,
	"wait wakes":                              waitWakes,
	"ended contexts":                          endedContexts,
	"commit during close":                     commitDuringClose,
	"iterators may be left and used together": iterators,
	"random commits equal a model":            randomCommits,
}

// desk is a store with the words that the tests use.
type desk struct {
	*testing.T
	store.Store
	ctx context.Context
}

// id makes a UUID text that sorts as n does.
func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func put(kind string, n int, body string) store.Op {
	return store.Op{Object: store.Object{Kind: kind, ID: id(n), Body: []byte(body)}}
}

func remove(kind string, n int) store.Op {
	return store.Op{Object: store.Object{Kind: kind, ID: id(n)}}
}

func named(op store.Op, names ...string) store.Op {
	for _, n := range names {
		op.Keys = append(op.Keys, store.Key{Index: "name", Value: n})
	}
	return op
}

func tagged(op store.Op, tags ...string) store.Op {
	op.Tags = tags
	return op
}

func referring(op store.Op, field, kind string, n int) store.Op {
	op.Refs = append(slices.Clone(op.Refs), store.Ref{Field: field, Kind: kind, ID: id(n)})
	return op
}

func matching(op store.Op, rev uint64) store.Op {
	op.IfMatch = &rev
	return op
}

// commit commits what must succeed.
func (d *desk) commit(ops ...store.Op) uint64 {
	d.Helper()
	r, err := d.Commit(d.ctx, store.Commit{Ops: ops})
	if err != nil {
		d.Fatalf("Commit = %v", err)
	}
	return r.Rev
}

// refuse commits what must fail with an error of type E, and hands it back. Nothing may
// have been written.
func refuse[E error](d *desk, ops ...store.Op) E {
	d.Helper()
	before := d.head()
	r, err := d.Commit(d.ctx, store.Commit{Ops: ops})
	var want E
	if !errors.As(err, &want) {
		d.Fatalf("Commit = %v, %v, want %T", r, err, want)
	}
	if after := d.head(); after != before {
		d.Fatalf("a refused commit moved the head from %d to %d", before, after)
	}
	return want
}

func (d *desk) head() uint64 {
	d.Helper()
	h, err := d.Head(d.ctx)
	if err != nil {
		d.Fatalf("Head = %v", err)
	}
	return h.Rev
}

// body reads an object's body; without the object it is "-".
func (d *desk) body(kind string, n int) string {
	d.Helper()
	o, err := d.Get(d.ctx, kind, id(n))
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		d.Fatalf("Get = %v", err)
	}
	return string(o.Body)
}

func (d *desk) changes(after, to uint64) []store.Change {
	d.Helper()
	var all []store.Change
	for c, err := range d.Changes(d.ctx, after, to) {
		if err != nil {
			d.Fatalf("Changes(%d, %d) = %v", after, to, err)
		}
		all = append(all, c)
	}
	return all
}

func (d *desk) load(at uint64) (uint64, []store.Object) {
	d.Helper()
	rev, objects, err := d.Load(d.ctx, at)
	if err != nil {
		d.Fatalf("Load(%d) = %v", at, err)
	}
	var all []store.Object
	for o, err := range objects {
		if err != nil {
			d.Fatalf("Load(%d) = %v", at, err)
		}
		all = append(all, o)
	}
	return rev, all
}

func ids(objects []store.Object) []string {
	out := make([]string, len(objects))
	for i, o := range objects {
		out[i] = o.ID
	}
	return out
}

func idsOf(ns ...int) []string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = id(n)
	}
	return out
}
