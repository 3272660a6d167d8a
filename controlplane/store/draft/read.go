package draft

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Get implements store.Store.
func (d *Draft) Get(ctx context.Context, kind, id string) (*store.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.get(ctx, object{kind, id})
}

func (d *Draft) get(ctx context.Context, o object) (*store.Object, error) {
	switch e := d.objects[o]; {
	case e == nil:
		return d.Store.Get(ctx, o.kind, o.id)
	case e.op.Delete():
		return nil, store.ErrNotFound
	default:
		return e.object(), nil
	}
}

func (e *entry) object() *store.Object {
	o := e.op.Object
	o.Rev = e.rev
	return &o
}

// Find implements store.Store.
func (d *Draft) Find(ctx context.Context, kind string, key store.Key) (*store.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.holders[holding{kind, key}] {
		return d.objects[object{kind, id}].object(), nil
	}
	have, err := d.Store.Find(ctx, kind, key)
	if err == nil && d.objects[object{kind, have.ID}] != nil {
		return nil, store.ErrNotFound // it gave the key up, or is gone
	}
	return have, err
}

// List implements store.Store.
func (d *Draft) List(ctx context.Context, q store.Query) ([]store.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var page []store.Object
	for below := q; ; {
		list, err := d.Store.List(ctx, below)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if d.objects[object{q.Kind, list[i].ID}] == nil {
				page = append(page, list[i])
			}
		}
		if len(page) >= q.Size || len(list) < q.Size || q.Size == 0 {
			break
		}
		below.After = list[len(list)-1].ID
	}
	for o, e := range d.objects {
		if o.kind == q.Kind && o.id > q.After && !e.op.Delete() && selected(&e.op, &q) {
			page = append(page, *e.object())
		}
	}
	slices.SortFunc(page, func(a, b store.Object) int { return cmp.Compare(a.ID, b.ID) })
	return page[:min(len(page), q.Size)], nil
}

func selected(op *store.Op, q *store.Query) bool {
	for _, tag := range q.AllTags {
		if !slices.Contains(op.Tags, tag) {
			return false
		}
	}
	if len(q.AnyTags) > 0 && !slices.ContainsFunc(op.Tags, func(tag string) bool { return slices.Contains(q.AnyTags, tag) }) {
		return false
	}
	return q.Ref == nil || slices.Contains(op.Refs, *q.Ref)
}

// Count implements store.Store.
func (d *Draft) Count(ctx context.Context) (map[string]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.Store.Count(ctx)
	if err != nil {
		return nil, err
	}
	for o, e := range d.objects {
		if e.base != 0 {
			n[o.kind]--
		}
		if !e.op.Delete() {
			n[o.kind]++
		}
	}
	return n, nil
}

// Referrers implements store.Store.
func (d *Draft) Referrers(ctx context.Context, kind, id string, limit int) ([]store.Referrer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.referring(ctx, object{kind, id}, limit)
}

func (d *Draft) referring(ctx context.Context, o object, limit int) ([]store.Referrer, error) {
	list, err := d.Store.Referrers(ctx, o.kind, o.id, limit+len(d.objects))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(r store.Referrer) bool { return d.objects[object{r.Kind, r.ID}] != nil })
	for r := range d.referrers[o] {
		list = append(list, store.Referrer{Object: *d.objects[r.from].object(), Field: r.field})
	}
	slices.SortFunc(list, func(a, b store.Referrer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Field, b.Field))
	})
	return list[:min(len(list), limit)], nil
}

// Tags implements store.Store.
func (d *Draft) Tags(ctx context.Context, q store.TagQuery) ([]store.Tag, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var page []store.Tag
	for below := q; ; {
		list, err := d.Store.Tags(ctx, below)
		if err != nil {
			return nil, err
		}
		for _, tag := range list {
			if d.objects[object{tag.Kind, tag.ID}] == nil {
				page = append(page, tag)
			}
		}
		if len(page) >= q.Size || len(list) < q.Size || q.Size == 0 {
			break
		}
		below.After = &list[len(list)-1]
	}
	for o, e := range d.objects {
		if !e.op.Delete() {
			page = append(page, tagsOf(o, e.op.Tags, &q)...)
		}
	}
	// An object's tags stay in its own order.
	slices.SortStableFunc(page, func(a, b store.Tag) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return page[:min(len(page), q.Size)], nil
}

// tagsOf are an object's tags that a query asks for.
func tagsOf(o object, tags []string, q *store.TagQuery) (list []store.Tag) {
	if a := q.After; a != nil {
		switch c := cmp.Or(cmp.Compare(o.kind, a.Kind), cmp.Compare(o.id, a.ID)); {
		case c < 0:
			return nil
		case c == 0:
			tags = tags[slices.Index(tags, a.Tag)+1:]
		}
	}
	for _, tag := range tags {
		if q.Tag == "" || q.Tag == tag {
			list = append(list, store.Tag{Kind: o.kind, ID: o.id, Tag: tag})
		}
	}
	return list
}

// Load implements store.Store for the head; the number is the draft's own. Earlier revisions
// are the store's below.
func (d *Draft) Load(ctx context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	if at != 0 && at < firstRev {
		return d.Store.Load(ctx, at)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, objects, err := d.Store.Load(ctx, 0)
	if err != nil {
		return 0, nil, err
	}
	var all []store.Object
	for o, err := range objects {
		if err != nil {
			return 0, nil, err
		}
		if d.objects[object{o.Kind, o.ID}] == nil {
			all = append(all, o)
		}
	}
	for _, e := range d.objects {
		if !e.op.Delete() {
			all = append(all, *e.object())
		}
	}
	slices.SortFunc(all, func(a, b store.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return d.rev, func(yield func(store.Object, error) bool) {
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
	}, nil
}

// sortedEntries are all entries, ascending by (kind, id).
func sortedEntries(objects map[object]*entry) []*entry {
	list := make([]*entry, 0, len(objects))
	for _, e := range objects {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.op.Kind, b.op.Kind), cmp.Compare(a.op.ID, b.op.ID))
	})
	return list
}
