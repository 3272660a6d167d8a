package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/model/document"
	"github.com/sekifuda/sekifuda/model/schema"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// importConfig takes over the configuration of a Kong: from its Admin API, or from a file of
// decK's, of a Kong without a database, or of `kong config db_export`. All of it is one
// revision.
func importConfig(ctx context.Context, c *call) error {
	f := c.flags("kong --from URL|FILE [FLAGS]")
	f.serverFlag()
	f.waitFlag()
	f.calls = importTimeout
	from := f.String("from", "", "URL of Kong's Admin API, or a declarative file; - for standard input")
	dryRun := f.Bool("dry-run", false, "say what would come, check it, write nothing")
	partial := f.Bool("partial", false, "go on without what is missing here or cannot be had")
	message := f.String("message", "", "why, kept with the revision")
	return f.talk(ctx, 1, 1, func(ctx context.Context, cl *client) error {
		if *from == "" || f.Arg(0) != "kong" {
			f.Usage()
			return errUsage
		}
		m, err := c.openKong(ctx, cl.schema, *from)
		if err != nil {
			return err
		}
		changes, err := m.plan(existing{ctx, cl}, *partial)
		m.print(c, changes)
		if err != nil {
			return err
		}
		if len(m.missing) > 0 && !*partial {
			return fmt.Errorf("%d things of the source have no place here (above), and nothing was written: say --partial to go on without them", len(m.missing))
		}
		ops, err := m.ops(changes)
		if err != nil {
			return err
		}
		return cl.commitImport(ctx, c, &controlv1.CommitRequest{
			Ops: ops, DryRun: *dryRun, Message: cmp.Or(*message, "import from "+*from), Wait: f.waiting(),
		})
	})
}

func (cl *client) commitImport(ctx context.Context, c *call, req *controlv1.CommitRequest) error {
	if len(req.Ops) == 0 {
		fmt.Fprintln(c.out, "nothing to write")
		return nil
	}
	res, err := cl.config.Commit(ctx, req)
	if err != nil {
		return err
	}
	if req.DryRun {
		fmt.Fprintln(c.out, "dry run: nothing was written")
		return nil
	}
	fmt.Fprintf(c.out, "revision %d\n", res.GetRevision().GetRev())
	return nil
}

// importTimeout bounds the reading and the one commit: each entity is looked at in the database.
const importTimeout = 5 * time.Minute

// move is one configuration on its way here.
type move struct {
	doc     *document.Document
	source  string   // in words
	missing []string // what has no place here
	differs []string // what behaves otherwise here
	refused []string
}

// openKong reads the source.
func (c *call) openKong(ctx context.Context, s *schema.Schema, from string) (*move, error) {
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		return readKongAPI(ctx, s, from)
	}
	files, err := c.read(from)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("%s: one file is one configuration, there are %d", from, len(files))
	}
	d, err := document.Parse(files[0].raw, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return &move{doc: d, source: from}, nil
}

// plan finds what is to be written. What has no place here is left out and said; a source that
// cannot be had is an error, unless the rest will do.
func (m *move) plan(have document.Existing, partial bool) ([]document.Change, error) {
	for _, u := range m.doc.LeaveUnknown() {
		if u.Entities > 0 {
			m.missing = append(m.missing, fmt.Sprintf("%s: %d entities of a kind that is not here", u.Kind, u.Entities))
		}
	}
	for _, l := range m.doc.Leave(m.place(schemaOf(have))) {
		m.missing = append(m.missing, l.Where+": "+l.Reason)
	}
	changes, err := m.doc.Plan(have, time.Now())
	var refused *document.Refused
	for errors.As(err, &refused) {
		m.refused = append(m.refused, refused.Problems()...)
		if !partial || len(m.doc.LeaveRefused(refused)) == 0 {
			return nil, fmt.Errorf("%d entities of the source are refused here (above), and nothing was written", len(m.refused))
		}
		changes, err = m.doc.Plan(have, time.Now())
	}
	return changes, err
}

func schemaOf(have document.Existing) *schema.Schema { return have.(existing).schema }

// place tells why an entity has no place here, and notes what differs.
func (m *move) place(s *schema.Schema) func(kind string, body schema.Body) string {
	return func(kind string, body schema.Body) string {
		delete(body, "ws_id") // there is one workspace
		if kind != "plugins" {
			return ""
		}
		name, _ := body["name"].(string)
		if s.Plugin(name) == nil {
			return fmt.Sprintf("plugin %q is not here", name)
		}
		if group, said := body["consumer_group"]; said && group != nil {
			return fmt.Sprintf("plugin %q acts on a consumer group, which Kong's open edition does not have either", name)
		}
		delete(body, "consumer_group")
		m.note(name, body)
		return ""
	}
}

// note tells what is known to behave otherwise here; docs/reference/kong-differences.md has
// the reasons.
func (m *move) note(name string, body schema.Body) {
	config, _ := body["config"].(schema.Body)
	switch {
	case name == "rate-limiting" && config["policy"] == "cluster":
		m.differ("rate-limiting with policy cluster counts where --redis-url says, else in the process, not in the database")
	case (name == "rate-limiting" || name == "response-ratelimiting") && config["policy"] == "redis":
		m.differ(name + " with policy redis counts anew: its keys in Redis have other names")
	}
	if lua, ok := config["custom_fields_by_lua"].(schema.Body); ok && len(lua) > 0 {
		m.differ(name + ": custom_fields_by_lua reads a subset of Lua")
	}
}

func (m *move) differ(text string) {
	if !slices.Contains(m.differs, text) {
		m.differs = append(m.differs, text)
	}
}

// print says what comes, by kind, what differs, and what is missing.
func (m *move) print(c *call, changes []document.Change) {
	type count struct{ made, changed, same int }
	counts := map[string]*count{}
	now := time.Now()
	for i := range changes {
		ch := &changes[i]
		n := counts[ch.Table.Kind]
		if n == nil {
			n = &count{}
			counts[ch.Table.Kind] = n
		}
		switch {
		case ch.Before == nil:
			n.made++
		case ch.Same(now):
			n.same++
		default:
			n.changed++
		}
	}
	fmt.Fprintf(c.out, "from %s\n", m.source)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		n := counts[kind]
		fmt.Fprintf(c.out, "  maps     %-22s %d to create, %d to change, %d as they are\n", kind, n.made, n.changed, n.same)
	}
	for _, list := range []struct {
		word  string
		lines []string
	}{{"differs", m.differs}, {"missing", m.missing}, {"refused", m.refused}} {
		for _, line := range list.lines {
			fmt.Fprintf(c.out, "  %-8s %s\n", list.word, line)
		}
	}
}

func (m *move) ops(changes []document.Change) ([]*controlv1.Op, error) {
	var ops []*controlv1.Op
	now := time.Now()
	for i := range changes {
		ch := &changes[i]
		if ch.Same(now) {
			continue
		}
		spec, err := anypb.New(ch.After)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ch.Where, err)
		}
		ops = append(ops, &controlv1.Op{Op: &controlv1.Op_Put{Put: spec}, Stored: m.doc.Stored()})
	}
	return ops, nil
}

// elsewhere are lists of Kong's that have no place here, for a source that may hold some.
var elsewhere = []string{"consumer_groups", "filter-chains", "sessions"}

// readKongAPI reads all entities from an Admin API.
func readKongAPI(ctx context.Context, s *schema.Schema, url string) (*move, error) {
	a := &restAdmin{url: url}
	var about struct{ Version, Edition string }
	if err := a.call(ctx, "GET", "/", &about); err != nil {
		return nil, err
	}
	m := &move{source: strings.TrimSpace(fmt.Sprintf("%s: Kong %s %s", url, about.Version, about.Edition))}
	root := schema.Body{"_format_version": "3.0", "_transform": false}
	for _, t := range s.Tables() {
		if t.Path == "" || t.NestedOnly {
			continue
		}
		list, err := a.list(ctx, "/"+t.Path)
		if statusOf(err) == 404 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path, err)
		}
		m.known(t, list)
		root[t.Kind] = list
	}
	if err := a.targets(ctx, root); err != nil {
		return nil, err
	}
	for _, path := range elsewhere {
		if list, err := a.list(ctx, "/"+path); err == nil && len(list) > 0 {
			m.missing = append(m.missing, fmt.Sprintf("%s: %d entities of a kind that is not here", path, len(list)))
		}
	}
	m.doc = document.Read(root, s)
	return m, nil
}

// known takes out members that the table has no field for. One that says something is told.
func (m *move) known(t *schema.Table, list []any) {
	for _, x := range list {
		body, _ := x.(schema.Body)
		for name, v := range body {
			if t.Field(name) != nil || name == "ttl" {
				continue
			}
			delete(body, name)
			if v != nil && name != "ws_id" {
				m.differ(fmt.Sprintf("%s: the field %s is not known here and is left out", t.Kind, name))
			}
		}
		if t.Kind == "certificates" {
			delete(body, "snis") // they come as a list of their own
		}
	}
}

// targets reads the targets of every upstream, which have no list of their own.
func (a *restAdmin) targets(ctx context.Context, root schema.Body) error {
	upstreams, _ := root["upstreams"].([]any)
	all := []any{}
	for _, u := range upstreams {
		body, _ := u.(schema.Body)
		list, err := a.list(ctx, fmt.Sprintf("/upstreams/%v/targets", body["id"]))
		if err != nil {
			return fmt.Errorf("targets of %v: %w", body["name"], err)
		}
		all = append(all, list...)
	}
	root["targets"] = all
	return nil
}

// list reads all pages of a list.
func (a *restAdmin) list(ctx context.Context, path string) ([]any, error) {
	all := []any{}
	for next := path + "?size=1000"; next != ""; {
		var page struct {
			Data []any
			Next *string
		}
		if err := a.call(ctx, "GET", next, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		next = ""
		if page.Next != nil {
			next = *page.Next
			if !strings.Contains(next, "size=") {
				next += "&size=1000" // nested lists forget it
			}
		}
	}
	return all, nil
}
