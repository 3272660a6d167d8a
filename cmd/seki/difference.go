package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/schema"
)

// printChange shows one entity before and after, a line for each member that differs.
// Secrets are not shown.
func printChange(w io.Writer, t *schema.Table, before, after proto.Message) {
	now := time.Now()
	var old, next schema.Body
	if before != nil {
		old = t.RenderOurs(before, now)
	}
	if after != nil {
		next = t.RenderOurs(after, now)
	}
	switch {
	case before == nil:
		fmt.Fprintf(w, "+ %s %s\n", t.Kind, label(t, next))
	case after == nil:
		fmt.Fprintf(w, "- %s %s\n", t.Kind, label(t, old))
	default:
		fmt.Fprintf(w, "~ %s %s\n", t.Kind, label(t, next))
		printMembers(w, "    ", t.Fields, old, next)
	}
}

// label is an entity's name for people.
func label(t *schema.Table, b schema.Body) string {
	for _, name := range []string{t.Key, "name"} {
		if s, ok := b[name].(string); ok && s != "" && !secret(t.Field(name)) {
			return s
		}
	}
	return fmt.Sprint(b["id"])
}

func printMembers(w io.Writer, indent string, fields []*schema.Field, old, next schema.Body) {
	keys := maps.Clone(next)
	maps.Copy(keys, old)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == "updated_at" || k == "created_at" || reflect.DeepEqual(old[k], next[k]) {
			continue
		}
		f := fieldOf(fields, k)
		a, aok := old[k].(schema.Body)
		b, bok := next[k].(schema.Body)
		if aok && bok {
			fmt.Fprintf(w, "%s%s:\n", indent, k)
			var inner []*schema.Field
			if f != nil {
				inner = f.Fields
			}
			printMembers(w, indent+"  ", inner, a, b)
			continue
		}
		if secret(f) {
			fmt.Fprintf(w, "%s%s: (secret) -> (secret)\n", indent, k)
			continue
		}
		fmt.Fprintf(w, "%s%s: %s -> %s\n", indent, k, text(old[k]), text(next[k]))
	}
}

func fieldOf(fields []*schema.Field, name string) *schema.Field {
	for _, f := range fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// secret reports whether a member's value stays hidden.
func secret(f *schema.Field) bool { return f != nil && f.Secret() }

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
