// Package scope holds writes to what their writer may write: entities of some kinds, and of some
// tags.
//
// Who may write what comes with the context of a call; a call without it may write everything. A
// Store asks it at every commit, by whichever API and use case that came. Enter at New.
package scope

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Scope is what somebody may write. An empty list limits nothing.
type Scope struct {
	Kinds []string // of entities: "routes"
	Tags  []string // of which each entity has one
}

// Parse reads "kinds=routes+plugins;tags=team-a": either, or both.
func Parse(text string) (s Scope, err error) {
	for part := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(part, "=")
		list := strings.Split(value, "+")
		switch {
		case slices.Contains(list, ""):
			return s, fmt.Errorf("limit %q: expected kinds=KIND+KIND;tags=TAG+TAG", part)
		case name == "kinds" && s.Kinds == nil:
			s.Kinds = list
		case name == "tags" && s.Tags == nil:
			s.Tags = list
		default:
			return s, fmt.Errorf("limit %q: expected kinds=KIND+KIND;tags=TAG+TAG, each once", part)
		}
	}
	return s, nil
}

// String is the scope as Parse reads it.
func (s Scope) String() string {
	var parts []string
	if len(s.Kinds) > 0 {
		parts = append(parts, "kinds="+strings.Join(s.Kinds, "+"))
	}
	if len(s.Tags) > 0 {
		parts = append(parts, "tags="+strings.Join(s.Tags, "+"))
	}
	return strings.Join(parts, ";")
}

type scopesKey struct{}

// With limits what calls of the context write: each as one of the scopes allows. Without a scope
// nothing is limited.
func With(ctx context.Context, scopes []Scope) context.Context {
	if len(scopes) == 0 {
		return ctx
	}
	return context.WithValue(ctx, scopesKey{}, scopes)
}

func of(ctx context.Context) []Scope {
	scopes, _ := ctx.Value(scopesKey{}).([]Scope)
	return scopes
}

// has reports whether some tag is one of the scope's.
func (s Scope) has(tags []string) bool {
	return len(s.Tags) == 0 || slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(s.Tags, t) })
}

// foreign are the tags that are not the scope's, in order.
func (s Scope) foreign(tags []string) (list []string) {
	for _, t := range tags {
		if !slices.Contains(s.Tags, t) {
			list = append(list, t)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
