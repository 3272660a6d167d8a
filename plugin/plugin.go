// Package plugin is the contract between a gate and its filters: Definition (what a plugin
// is), Exchange (one request and its response), Verdict (what a filter decides) and Host
// (what a gate lends to filters).
//
// It knows nothing of HTTP framing, of the network, or of where configuration comes from: a
// filter never asks which protocol carried a request. One folder below is one plugin.
// Enter at Define.
package plugin

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/schema"
)

// Filter is one compiled configuration of a plugin. It implements at least one of
// RequestFilter, ResponseFilter, LogFilter, and is used by many exchanges at once.
type Filter any

// RequestFilter acts before a request goes upstream, in descending priority.
type RequestFilter interface {
	OnRequest(x *Exchange) Verdict
}

// ResponseFilter acts on the head of the answer before it goes to the client, whoever made
// it. It also runs when an earlier filter, or the gate itself, answered.
type ResponseFilter interface {
	OnResponse(x *Exchange)
}

// LogFilter acts after the last byte of the answer was sent. It must not block.
type LogFilter interface {
	OnLog(x *Exchange)
}

// Runner is a filter with work of its own (a queue, a connection). Run is called once when
// the filter begins to serve; its ctx ends after the last exchange that may use the filter.
// It then sends what is queued, within a bound of its own, and returns.
type Runner interface {
	Run(ctx context.Context) error
}

// Reopener is a filter that holds files open. Reopen is called when an operator has rotated
// them (SIGHUP); it must not block.
type Reopener interface {
	Reopen()
}

// Definition is a plugin: its name and rules come from the options of its Config message,
// its behaviour from New. It is inert until Load.
type Definition struct {
	config proto.Message
	build  func(proto.Message, Host) (Filter, error)
}

// Define makes a plugin of its constructor. New must do no I/O and start nothing: the
// control plane calls it too, to refuse at the desk what could not run at a gate.
func Define[C proto.Message](build func(C, Host) (Filter, error)) *Definition {
	var zero C
	return &Definition{
		config: zero,
		build: func(m proto.Message, h Host) (Filter, error) {
			c, ok := m.(C)
			if !ok {
				return nil, fmt.Errorf("config is of type %s, not %s",
					m.ProtoReflect().Descriptor().FullName(), zero.ProtoReflect().Descriptor().FullName())
			}
			return build(c, h)
		},
	}
}

// Plugin is a loaded definition.
type Plugin struct {
	*schema.Plugin // name, priority, version, protocols, scopes, and the config's table
	def            *Definition
}

// New compiles one configuration. The error, when c cannot run or is not of the plugin's
// Config type, is in the user's words.
func (p *Plugin) New(c proto.Message, h Host) (Filter, error) { return p.def.build(c, h) }

// fault is where New's errors tell what they complain of: "config.add.headers[2]: text".
var fault = regexp.MustCompile(`^(config(?:\.[A-Za-z0-9_]+)*(?:\[[0-9]+\])?): (.*)$`)

// Faults yields field and reason of each line of an error of New. What names no field is about
// the whole config.
func Faults(err error) iter.Seq2[string, string] {
	return func(yield func(field, reason string) bool) {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			field, reason := "config", line
			if m := fault.FindStringSubmatch(line); m != nil {
				field, reason = m[1], m[2]
			}
			if !yield(field, reason) {
				return
			}
		}
	}
}

// Set is all plugins of a build.
type Set struct {
	byName  map[string]*Plugin
	ordered []*Plugin
}

// Load reads the definitions' options. It fails on a definition whose options are wrong or
// whose name is taken, which is a bug of the build.
func Load(defs ...*Definition) (*Set, error) {
	plugins := make([]*Plugin, len(defs))
	for i, d := range defs {
		sp, err := schema.LoadPlugin(d.config.ProtoReflect().Descriptor())
		if err != nil {
			return nil, fmt.Errorf("load plugin: %w", err)
		}
		plugins[i] = d.With(sp)
	}
	return NewSet(plugins...)
}

// With makes the plugin of a definition whose options are already read.
func (d *Definition) With(sp *schema.Plugin) *Plugin { return &Plugin{Plugin: sp, def: d} }

// NewSet returns the set of plugins. It fails when a name is taken twice.
func NewSet(plugins ...*Plugin) (*Set, error) {
	s := &Set{byName: make(map[string]*Plugin, len(plugins))}
	for _, p := range plugins {
		if s.byName[p.Name] != nil {
			return nil, fmt.Errorf("load plugin: %q is defined twice", p.Name)
		}
		s.byName[p.Name] = p
		s.ordered = append(s.ordered, p)
	}
	// Kong 3.9.1 runs equal priorities by descending name.
	sort.Slice(s.ordered, func(i, j int) bool {
		a, b := s.ordered[i], s.ordered[j]
		if a.Priority != b.Priority {
			return a.Priority > b.Priority
		}
		return a.Name > b.Name
	})
	return s, nil
}

// Lookup returns the plugin of that name, or nil.
func (s *Set) Lookup(name string) *Plugin { return s.byName[name] }

// All returns every plugin in the order in which filters run.
func (s *Set) All() []*Plugin { return s.ordered }
