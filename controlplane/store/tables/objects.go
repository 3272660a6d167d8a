package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// maxTags bounds the tags of one filter; Kong takes five.
const maxTags = 64

const objectColumns = `o.kind, o.id, o.rev, o.tags, o.body`

// scanObject reads objectColumns and then the rest.
func scanObject(rows Rows, o *store.Object, rest ...any) error {
	var rev int64
	var tags []byte
	dest := append([]any{&o.Kind, &o.ID, &rev, &tags, &o.Body}, rest...)
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	o.Rev = uint64(rev)
	if o.Body == nil {
		o.Body = []byte{} // an empty body; the column is never NULL
	}
	var err error
	o.Tags, err = ParseTags(tags)
	return err
}

// Get implements store.Store.
func (r *Reader) Get(ctx context.Context, kind, id string) (*store.Object, error) {
	if plan.CheckNames("kind", kind, "id", id) != nil {
		return nil, store.ErrNotFound
	}
	var o store.Object
	err := r.one(ctx, "get object", func(rows Rows) error { return scanObject(rows, &o) },
		`SELECT `+objectColumns+` FROM object o WHERE o.kind = $1 AND o.id = $2`, kind, id)
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// Find implements store.Store.
func (r *Reader) Find(ctx context.Context, kind string, key store.Key) (*store.Object, error) {
	if plan.CheckNames("kind", kind, "index", key.Index) != nil {
		return nil, store.ErrNotFound
	}
	var o store.Object
	err := r.one(ctx, "find object", func(rows Rows) error { return scanObject(rows, &o) },
		`SELECT `+objectColumns+` FROM object_key k JOIN object o ON o.kind = k.kind AND o.id = k.id
		 WHERE k.kind = $1 AND k.idx = $2 AND k.val = $3`, kind, key.Index, Indexed(key.Value))
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// List implements store.Store.
func (r *Reader) List(ctx context.Context, q store.Query) ([]store.Object, error) {
	if err := checkQuery(q); err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	var w where
	w.and(`o.kind = ` + w.arg(q.Kind))
	if q.After != "" {
		w.and(`o.id > ` + w.arg(q.After))
	}
	for _, t := range q.AllTags {
		w.and(hasTag + ` = ` + w.tag(t) + `)`)
	}
	if len(q.AnyTags) > 0 {
		wanted := make([]string, len(q.AnyTags))
		for i, t := range q.AnyTags {
			wanted[i] = w.tag(t)
		}
		w.and(hasTag + ` IN (` + strings.Join(wanted, ", ") + `))`)
	}
	if q.Ref != nil {
		w.and(`EXISTS (SELECT 1 FROM object_ref f WHERE f.src_kind = o.kind AND f.src_id = o.id AND f.field = ` +
			w.arg(q.Ref.Field) + ` AND f.dst_kind = ` + w.arg(q.Ref.Kind) + ` AND f.dst_id = ` + w.arg(q.Ref.ID) + `)`)
	}
	query := `SELECT ` + objectColumns + ` FROM object o` + w.text() + ` ORDER BY o.id LIMIT ` + w.arg(int64(q.Size))
	var objects []store.Object
	err := r.each(ctx, "list objects", func(rows Rows) error {
		var o store.Object
		err := scanObject(rows, &o)
		objects = append(objects, o)
		return err
	}, query, w.args...)
	if err != nil {
		return nil, err
	}
	return objects, nil
}

const hasTag = `EXISTS (SELECT 1 FROM object_tag t WHERE t.kind = o.kind AND t.id = o.id AND t.tag`

func checkQuery(q store.Query) error {
	if len(q.AllTags)+len(q.AnyTags) > maxTags {
		return fmt.Errorf("%d tags are above the limit of %d: %w", len(q.AllTags)+len(q.AnyTags), maxTags, store.ErrInvalid)
	}
	err := errors.Join(checkSize(q.Size), plan.CheckNames("kind", q.Kind))
	if q.After != "" {
		err = errors.Join(err, plan.CheckNames("after", q.After))
	}
	if q.Ref != nil {
		err = errors.Join(err, plan.CheckNames("reference field", q.Ref.Field, "reference kind", q.Ref.Kind, "reference id", q.Ref.ID))
	}
	return err
}

func checkSize(size int) error {
	if size < 0 {
		return fmt.Errorf("size is %d: %w", size, store.ErrInvalid)
	}
	return nil
}

// Referrers implements store.Store.
func (r *Reader) Referrers(ctx context.Context, kind, id string, limit int) ([]store.Referrer, error) {
	if err := checkSize(limit); err != nil {
		return nil, fmt.Errorf("list referrers: %w", err)
	}
	if plan.CheckNames("kind", kind, "id", id) != nil {
		return nil, nil
	}
	var referrers []store.Referrer
	err := r.each(ctx, "list referrers", func(rows Rows) error {
		var f store.Referrer
		err := scanObject(rows, &f.Object, &f.Field)
		referrers = append(referrers, f)
		return err
	}, `SELECT `+objectColumns+`, f.field FROM object_ref f JOIN object o ON o.kind = f.src_kind AND o.id = f.src_id
		WHERE f.dst_kind = $1 AND f.dst_id = $2 ORDER BY f.src_kind, f.src_id, f.field LIMIT $3`, kind, id, int64(limit))
	if err != nil {
		return nil, err
	}
	return referrers, nil
}

// Tags implements store.Store.
func (r *Reader) Tags(ctx context.Context, q store.TagQuery) ([]store.Tag, error) {
	if err := checkSize(q.Size); err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	var w where
	w.and(`o.tags IS NOT NULL`)
	if q.Tag != "" {
		w.and(hasTag + ` = ` + w.tag(q.Tag) + `)`)
	}
	if a := q.After; a != nil {
		if err := plan.CheckNames("after kind", a.Kind, "after id", a.ID); err != nil {
			return nil, fmt.Errorf("list tags: %w", err)
		}
		w.and(`(o.kind, o.id) >= (` + w.arg(a.Kind) + `, ` + w.arg(a.ID) + `)`)
	}
	// Each object has a tag, and that of After may have no more: one object more than tags.
	query := `SELECT o.kind, o.id, o.tags FROM object o` + w.text() + ` ORDER BY o.kind, o.id LIMIT ` + w.arg(int64(q.Size)+1)
	var tags []store.Tag
	err := r.each(ctx, "list tags", func(rows Rows) error {
		var t store.Tag
		var packed []byte
		if err := rows.Scan(&t.Kind, &t.ID, &packed); err != nil {
			return err
		}
		list, err := ParseTags(packed)
		for _, t.Tag = range rest(list, t, q.After) {
			if (q.Tag == "" || q.Tag == t.Tag) && len(tags) < q.Size {
				tags = append(tags, t)
			}
		}
		return err
	}, query, w.args...)
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// rest is what an object's tags hold behind after, each once.
func rest(given []string, of store.Tag, after *store.Tag) []string {
	var tags []string
	for _, t := range given {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	if after == nil || of.Kind != after.Kind || of.ID != after.ID {
		return tags
	}
	if i := slices.Index(tags, after.Tag); i >= 0 {
		return tags[i+1:]
	}
	return nil
}

// where gathers conditions and their arguments.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string) { w.conditions = append(w.conditions, condition) }

func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) tag(t string) string {
	return w.arg(Indexed(t))
}

func (w *where) text() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return ` WHERE ` + strings.Join(w.conditions, ` AND `)
}

// Count implements store.Store.
func (r *Reader) Count(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := r.each(ctx, "count objects", func(rows Rows) error {
		var kind string
		var n int64
		err := rows.Scan(&kind, &n)
		counts[kind] = int(n)
		return err
	}, `SELECT o.kind, count(*) FROM object o GROUP BY o.kind`)
	if err != nil {
		return nil, err
	}
	return counts, nil
}
