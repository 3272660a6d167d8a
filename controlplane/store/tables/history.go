package tables

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// Head implements store.Store.
func (r *Reader) Head(ctx context.Context) (store.Head, error) {
	var h store.Head
	err := r.one(ctx, "read head", func(rows Rows) error { return scanHead(rows, &h) }, headQuery)
	if errors.Is(err, store.ErrNotFound) {
		err = errors.New("read head: the table head is empty")
	}
	return h, err
}

const headQuery = `SELECT epoch, rev, floor FROM head`

func scanHead(rows Rows, h *store.Head) error {
	var rev, floor int64
	err := rows.Scan(&h.Epoch, &rev, &floor)
	h.Rev, h.Floor = uint64(rev), uint64(floor)
	return err
}

// RevisionColumns are what ScanRevision reads.
const RevisionColumns = `v.rev, v.at_us, v.actor, v.message, v.client, v.request_id, v.changes`

// ScanRevision reads RevisionColumns.
func ScanRevision(rows Rows, v *store.Revision) error {
	var rev, at int64
	var request []byte
	var changes int64
	err := rows.Scan(&rev, &at, &v.Actor, &v.Message, &v.Client, &request, &changes)
	v.Rev, v.At, v.RequestID, v.Changes = uint64(rev), Time(at), string(request), int(changes)
	return err
}

// Revision implements store.Store.
func (r *Reader) Revision(ctx context.Context, rev uint64) (store.Revision, error) {
	var v store.Revision
	err := r.one(ctx, "read revision", func(rows Rows) error { return ScanRevision(rows, &v) },
		`SELECT `+RevisionColumns+` FROM revision v WHERE v.rev = $1`, signed(rev))
	return v, err
}

// Revisions implements store.Store.
func (r *Reader) Revisions(ctx context.Context, q store.RevisionQuery) ([]store.Revision, error) {
	if err := checkRevisions(q); err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	var w where
	if q.Before != 0 {
		w.and(`v.rev < ` + w.arg(signed(q.Before)))
	}
	if q.Kind != "" {
		w.and(`v.rev IN (SELECT c.rev FROM change c WHERE c.kind = ` + w.arg(q.Kind) + ` AND c.id = ` + w.arg(q.ID) + `)`)
	}
	if q.Actor != "" {
		w.and(`v.actor = ` + w.arg(plan.Text(q.Actor)))
	}
	query := `SELECT ` + RevisionColumns + ` FROM revision v` + w.text() + ` ORDER BY v.rev DESC LIMIT ` + w.arg(int64(q.Size))
	var revisions []store.Revision
	err := r.each(ctx, "list revisions", func(rows Rows) error {
		var v store.Revision
		err := ScanRevision(rows, &v)
		revisions = append(revisions, v)
		return err
	}, query, w.args...)
	if err != nil {
		return nil, err
	}
	return revisions, nil
}

func checkRevisions(q store.RevisionQuery) error {
	err := checkSize(q.Size)
	if q.Kind != "" || q.ID != "" {
		err = errors.Join(err, plan.CheckNames("kind", q.Kind, "id", q.ID))
	}
	return err
}

// Load implements store.Store. The iterator may be ranged over later and more than once: it
// goes back to the revision from wherever the head is by then, so nothing is held between.
func (r *Reader) Load(ctx context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	head, err := r.Head(ctx)
	if err != nil {
		return 0, nil, err
	}
	if at == 0 {
		at = head.Rev
	}
	if err := within(head, at); err != nil {
		return 0, nil, fmt.Errorf("load revision %d: %w", at, err)
	}
	return at, func(yield func(store.Object, error) bool) {
		var o store.Object
		ask := func(h store.Head) (string, []any, error) {
			if err := within(h, at); err != nil {
				return "", nil, err
			}
			if h.Rev == at {
				return `SELECT ` + objectColumns + ` FROM object o ORDER BY o.kind, o.id`, nil, nil
			}
			return loadAt, []any{signed(at)}, nil
		}
		take := func(rows Rows) (bool, error) {
			o = store.Object{}
			if err := scanObject(rows, &o); err != nil {
				return false, err
			}
			return yield(o, nil), nil
		}
		if err := r.stream(ctx, ask, take); err != nil {
			yield(store.Object{}, fmt.Errorf("load revision %d: %w", at, err))
		}
	}, nil
}

// loadAt undoes, for every object that changed after $1, the first of those changes.
const loadAt = `
WITH undo AS (
    SELECT c.kind, c.id, c.before_rev, c.before_tags, c.before FROM change c
    WHERE c.rev > $1 AND NOT EXISTS (
        SELECT 1 FROM change d WHERE d.kind = c.kind AND d.id = c.id AND d.rev > $1 AND d.rev < c.rev)
)
SELECT o.kind, o.id, o.rev, o.tags, o.body FROM object o
WHERE NOT EXISTS (SELECT 1 FROM undo u WHERE u.kind = o.kind AND u.id = o.id)
UNION ALL
SELECT u.kind, u.id, u.before_rev, u.before_tags, u.before FROM undo u WHERE u.before IS NOT NULL
ORDER BY 1, 2`

// within reports whether rev is in the history that is kept.
func within(h store.Head, rev uint64) error {
	switch {
	case rev < h.Floor:
		return store.ErrCompacted
	case rev > h.Rev:
		return store.ErrNotFound
	}
	return nil
}

// Changes implements store.Store. A to above the head is ErrNotFound.
func (r *Reader) Changes(ctx context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		ask := func(h store.Head) (string, []any, error) {
			end := to
			if end == 0 {
				end = max(h.Rev, after)
			}
			if after < h.Floor {
				return "", nil, store.ErrCompacted
			}
			if to > h.Rev {
				return "", nil, store.ErrNotFound
			}
			return `SELECT c.rev, c.seq, c.kind, c.id, c.before, c.after,
				CASE WHEN c.before IS NULL THEN 0 ELSE 1 END, CASE WHEN c.after IS NULL THEN 0 ELSE 1 END FROM change c
				WHERE c.rev > $1 AND c.rev <= $2 ORDER BY c.rev, c.seq`, []any{signed(after), signed(end)}, nil
		}
		take := func(rows Rows) (bool, error) {
			var c store.Change
			if err := scanChange(rows, &c); err != nil {
				return false, err
			}
			return yield(c, nil), nil
		}
		if err := r.stream(ctx, ask, take); err != nil {
			yield(store.Change{}, fmt.Errorf("read changes after %d: %w", after, err))
		}
	}
}

// present makes an empty body empty again: SQLite's driver reads it as none.
func present(body []byte, there int64) []byte {
	if body == nil && there != 0 {
		return []byte{}
	}
	return body
}

func scanChange(rows Rows, c *store.Change) error {
	var rev, seq, before, after int64
	err := rows.Scan(&rev, &seq, &c.Kind, &c.ID, &c.Before, &c.After, &before, &after)
	c.Rev, c.Seq = uint64(rev), int(seq)
	c.Before, c.After = present(c.Before, before), present(c.After, after)
	return err
}

// stream asks one long question about one moment: ask phrases it when the head is known,
// take gets the rows until it says false.
func (r *Reader) stream(ctx context.Context, ask func(store.Head) (string, []any, error), take func(Rows) (bool, error)) error {
	bound, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.closed, cancel)()
	dog := watch(cancel)
	defer dog.pause()
	view, done, err := r.source.View(bound)
	if err != nil {
		return r.fail(ctx, "open view", err)
	}
	defer done()
	head, err := headOf(bound, view)
	if err != nil {
		return r.fail(ctx, "read head", err)
	}
	query, args, err := ask(head)
	if err != nil {
		return err
	}
	rows, err := view.Query(bound, query, args...)
	if err != nil {
		return r.fail(ctx, "read rows", err)
	}
	defer rows.Close()
	for rows.Next() {
		dog.pause()
		more, err := take(rows)
		if err != nil {
			return r.fail(ctx, "read rows", err)
		}
		if !more {
			return nil
		}
		dog.resume()
	}
	if err := rows.Err(); err != nil {
		return r.fail(ctx, "read rows", err)
	}
	return nil
}

func headOf(ctx context.Context, view Asker) (store.Head, error) {
	var h store.Head
	rows, err := view.Query(ctx, headQuery)
	if err != nil {
		return h, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scanHead(rows, &h); err != nil {
			return h, err
		}
	}
	return h, rows.Err()
}

// Secret implements store.Store around ensure, which stores the fresh secret unless there is
// one by that name.
func (r *Reader) Secret(ctx context.Context, name string, ensure func(context.Context) error) ([]byte, error) {
	if err := plan.CheckNames("name", name); err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	value, err := r.secret(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return value, err
	}
	bound, cancel := r.bound(ctx, answerTime)
	defer cancel()
	if err := ensure(bound); err != nil {
		return nil, r.fail(ctx, "store secret", err)
	}
	return r.secret(ctx, name)
}

func (r *Reader) secret(ctx context.Context, name string) ([]byte, error) {
	var value []byte
	err := r.one(ctx, "read secret", func(rows Rows) error { return rows.Scan(&value) },
		`SELECT value FROM secret WHERE name = $1`, name)
	return value, err
}
