package config

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
)

// Get returns the entity of that id or endpoint key, or a fault of kind NotFound. With
// under, only if it belongs to that owner.
func (c *Config) Get(ctx context.Context, t *schema.Table, idOrKey string, under *Under) (*Entity, error) {
	e, err := c.find(ctx, t, idOrKey, under)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, missing(t, idOrKey)
	}
	return e, nil
}

// find is Get with nil for what does not exist.
func (c *Config) find(ctx context.Context, t *schema.Table, idOrKey string, under *Under) (*Entity, error) {
	o, err := c.object(ctx, t, idOrKey, under)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, c.fault(t, nil, err)
	}
	e, err := c.entity(t, o)
	if err != nil {
		return nil, err
	}
	if t.Expired(e.Message, c.now()) || under != nil && t.Ref(e.Message, under.Field) != under.ID {
		return nil, nil
	}
	return e, nil
}

// object looks an entity up the way its address says: by id, by endpoint key, and a target
// by its name within its upstream.
func (c *Config) object(ctx context.Context, t *schema.Table, idOrKey string, under *Under) (*store.Object, error) {
	if schema.IsID(idOrKey) {
		return c.store.Get(ctx, t.Kind, schema.CanonicalID(idOrKey))
	}
	if t.Kind == "certificates" {
		return c.certificateOf(ctx, idOrKey)
	}
	if f := t.CheckKey(idOrKey); f != nil {
		return nil, f
	}
	key := t.EndpointKey(idOrKey)
	if under != nil {
		if t.Kind == "targets" {
			idOrKey = model.NormalTarget(idOrKey)
		}
		key, _, _ = t.NestedKey(under.Field, under.ID, idOrKey)
	}
	if key == (schema.Key{}) {
		return nil, store.ErrNotFound
	}
	return c.store.Find(ctx, t.Kind, store.Key(key))
}

// missing is the fault of an address that leads to nothing.
func missing(t *schema.Table, idOrKey string) error {
	if schema.IsID(idOrKey) || t.Key == "" {
		return schema.NotFound(idOrKey)
	}
	return schema.NotFoundBy(t.Key, idOrKey)
}

func (c *Config) entity(t *schema.Table, o *store.Object) (*Entity, error) {
	m, err := t.Unmarshal(o.Body)
	if err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", o.Kind, o.ID, err)
	}
	return &Entity{Table: t, ID: o.ID, Rev: o.Rev, Message: m}, nil
}

// ListQuery selects entities of one kind, ascending by id.
type ListQuery struct {
	After            string
	Size             int
	AllTags, AnyTags []string
	Under            *Under
}

// List returns one page, and whether there are more. What has expired takes no place on it.
func (c *Config) List(ctx context.Context, t *schema.Table, q ListQuery) ([]*Entity, bool, error) {
	sq := store.Query{Kind: t.Kind, After: q.After, Size: q.Size + 1, AllTags: q.AllTags, AnyTags: q.AnyTags}
	if q.Under != nil {
		sq.Ref = &store.Ref{Field: q.Under.Field, Kind: t.Field(q.Under.Field).Refers, ID: q.Under.ID}
	}
	list := make([]*Entity, 0, q.Size)
	for {
		objects, err := c.store.List(ctx, sq)
		if err != nil {
			return nil, false, c.fault(t, nil, err)
		}
		for i := range objects {
			e, err := c.entity(t, &objects[i])
			if err != nil {
				return nil, false, err
			}
			if t.Expired(e.Message, c.now()) {
				continue
			}
			if len(list) == q.Size {
				return list, true, nil
			}
			list = append(list, e)
		}
		if len(objects) < sq.Size {
			return list, false, nil
		}
		sq.After = objects[len(objects)-1].ID
	}
}

// eachPage bounds how many entities are read at a time by those who read all.
const eachPage = 1000

// each yields all entities of a kind, or those below an owner, ascending by id.
func (c *Config) each(ctx context.Context, t *schema.Table, under *Under) iter.Seq2[*Entity, error] {
	return func(yield func(*Entity, error) bool) {
		for after := ""; ; {
			list, more, err := c.List(ctx, t, ListQuery{After: after, Size: eachPage, Under: under})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
			if !more || len(list) == 0 {
				return
			}
			after = list[len(list)-1].ID
		}
	}
}

// All returns all entities of a kind, or those below an owner, ascending by id.
func (c *Config) All(ctx context.Context, t *schema.Table, under *Under) ([]*Entity, error) {
	var all []*Entity
	for e, err := range c.each(ctx, t, under) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Tags returns one page of tags, and whether there are more.
func (c *Config) Tags(ctx context.Context, q store.TagQuery) ([]store.Tag, bool, error) {
	size := q.Size
	q.Size++
	tags, err := c.store.Tags(ctx, q)
	if err != nil {
		return nil, false, c.fault(nil, nil, err)
	}
	if len(tags) > size {
		return tags[:size], true, nil
	}
	return tags, false, nil
}

// FindUnique returns the entity that holds the value of a unique field, or a fault of kind
// NotFound.
func (c *Config) FindUnique(ctx context.Context, t *schema.Table, field, value string) (*Entity, error) {
	o, err := c.store.Find(ctx, t.Kind, store.Key{Index: field, Value: value})
	if errors.Is(err, store.ErrNotFound) {
		return nil, schema.NotFoundBy(field, value)
	}
	if err != nil {
		return nil, c.fault(t, nil, err)
	}
	return c.entity(t, o)
}

// PluginsInUse returns the distinct names of configured plugins, sorted.
func (c *Config) PluginsInUse(ctx context.Context) ([]string, error) {
	t := c.schema.Table("plugins")
	set := map[string]bool{}
	for e, err := range c.each(ctx, t, nil) {
		if err != nil {
			return nil, err
		}
		set[t.NameOf(e.Message)] = true
	}
	return slices.Sorted(maps.Keys(set)), nil
}

// Counts returns how many entities there are of each kind.
func (c *Config) Counts(ctx context.Context) (map[string]int, error) {
	n, err := c.store.Count(ctx)
	if err != nil {
		return nil, c.fault(nil, nil, err)
	}
	return n, nil
}

// Validate checks a body as an insertion would, without the database.
func (c *Config) Validate(t *schema.Table, body schema.Body) error {
	return t.Validate(body, c.now())
}

// Render returns an entity as the Admin API shows it; ours adds the settings that Kong does
// not know.
func (c *Config) Render(ctx context.Context, e *Entity, ours bool) (schema.Body, error) {
	render := e.Table.Render
	if ours {
		render = e.Table.RenderOurs
	}
	b := render(e.Message, c.now())
	if e.Table.Kind == "certificates" {
		snis, err := c.snisOf(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		b["snis"] = names(snis)
	}
	return b, nil
}
