package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/model/schema"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// get shows the entities of a kind, or one of them.
func get(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] KIND [ID-OR-NAME]")
	f.serverFlag()
	output := f.String("output", "table", "table, json or yaml")
	tags := f.String("tags", "", "only entities with all of these tags, comma-separated")
	return f.talk(ctx, 1, 2, func(ctx context.Context, cl *client) error {
		t, err := cl.table(f.Arg(0))
		if err != nil {
			return err
		}
		if f.NArg() == 2 {
			res, err := cl.config.Get(ctx, &controlv1.GetRequest{Ref: &controlv1.EntityRef{Kind: t.Kind, IdOrKey: f.Arg(1)}})
			if err != nil {
				return err
			}
			return c.show(t, []*controlv1.Entity{res.GetEntity()}, *output, true)
		}
		req := &controlv1.ListRequest{Kind: t.Kind}
		if *tags != "" {
			req.AllTags = strings.Split(*tags, ",")
		}
		list, err := cl.entities(ctx, req)
		if err != nil {
			return err
		}
		return c.show(t, list, *output, false)
	})
}

func (c *call) show(t *schema.Table, list []*controlv1.Entity, output string, one bool) error {
	bodies := make([]schema.Body, len(list))
	for i, e := range list {
		m, err := e.GetSpec().UnmarshalNew()
		if err != nil {
			return fmt.Errorf("%s %s: %w", e.GetKind(), e.GetId(), err)
		}
		bodies[i] = t.RenderOurs(m, time.Now())
	}
	var v any = bodies
	if one {
		v = bodies[0]
	}
	switch output {
	case "json":
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		return yaml.NewEncoder(c.out).Encode(v)
	case "table":
		return c.table(t, bodies)
	}
	return fmt.Errorf("--output %q: expected table, json or yaml", output)
}

// columns are the members worth a column, in this order, where a kind has them.
var columns = []string{
	"name", "username", "custom_id", "instance_name", "prefix", "target", "key", "protocol", "host", "port", "path",
	"protocols", "hosts", "paths", "methods", "service", "route", "consumer", "upstream", "certificate", "weight", "enabled", "tags",
}

func (c *call) table(t *schema.Table, bodies []schema.Body) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	var cols []string
	for _, name := range columns {
		if f := t.Field(name); f != nil {
			cols = append(cols, name)
		}
	}
	fmt.Fprintln(w, strings.ToUpper("ID\t"+strings.Join(cols, "\t")))
	for _, b := range bodies {
		fmt.Fprint(w, b["id"])
		for _, name := range cols {
			fmt.Fprint(w, "\t", cell(b[name]))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// cell shows a value in one word.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = cell(x)
		}
		return strings.Join(parts, ",")
	case schema.Body:
		if id, ok := v["id"]; ok && len(v) == 1 {
			return fmt.Sprint(id)
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		return strings.Join(keys, ",")
	}
	return fmt.Sprint(v)
}
