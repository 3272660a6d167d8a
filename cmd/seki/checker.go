package main

import (
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// checker introduces the gate's compiler to the desk: an entity is compiled alone, as a gate
// would, before it is stored. References are left to the store.
type checker struct {
	plugins *plugin.Set
	schema  *schema.Schema
}

// Check implements config.Checker.
func (c checker) Check(kind string, entity proto.Message) error {
	alone := detach(entity)
	if alone == nil {
		return nil
	}
	body, err := schema.Marshal(alone)
	if err != nil {
		return err
	}
	err = graph.Check(c.plugins, c.schema.RouterFlavor, []graph.Change{{Kind: kind, ID: c.schema.Table(kind).ID(entity), Body: body}})
	var refusal *graph.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	fields := fault.Tree{}
	for _, v := range refusal.Violations {
		put(fields, v.Field, v.Reason)
	}
	f := schema.Violation(fields)
	f.Err = err
	return f
}

// maxListed bounds the nulls that stand for elements which are right.
const maxListed = 1000

// put sets the text at a path of a tree; an empty path is the whole entity, and "a[2]" the third
// element of a list.
func put(t fault.Tree, path, text string) {
	if path == "" {
		t["@entity"] = []any{text}
		return
	}
	name, rest, nested := strings.Cut(path, ".")
	if list, number, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok && !nested {
		if i, err := strconv.Atoi(number); err == nil && i < maxListed {
			t[list] = append(make([]any, i), text)
			return
		}
		name = list
	}
	if !nested {
		t[name] = text
		return
	}
	inner, ok := t[name].(fault.Tree)
	if !ok {
		inner = fault.Tree{}
		t[name] = inner
	}
	put(inner, rest, text)
}

// detach returns an entity without its references, or nil for kinds of which nothing can be
// compiled alone.
func detach(entity proto.Message) proto.Message {
	switch m := entity.(type) {
	case *entityv1.Route:
		m = proto.CloneOf(m)
		m.Service = nil
		return m
	case *entityv1.Plugin:
		m = proto.CloneOf(m)
		m.Service, m.Route, m.Consumer = nil, nil, nil
		return m
	case *entityv1.Service:
		m = proto.CloneOf(m)
		m.ClientCertificate, m.CaCertificates = nil, nil
		return m
	case *entityv1.Certificate, *entityv1.CaCertificate:
		return m
	}
	return nil
}
