package doctor

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

// patient is an installation as it is examined: what was read of it, once.
type patient struct {
	Options
	reading  *ops.Reading
	findings map[string]ops.Finding // the worst of each name

	entities map[string][]ops.Entity // by path
	failed   map[string]error
}

func newPatient(ctx context.Context, o Options) *patient {
	p := &patient{Options: o, findings: map[string]ops.Finding{}, entities: map[string][]ops.Entity{}, failed: map[string]error{}}
	before := o.Stack.Read(ctx)
	select {
	case <-time.After(cmp.Or(o.Between, time.Second)):
	case <-ctx.Done():
	}
	p.reading = o.Stack.Read(ctx)
	for _, f := range ops.Judge(p.reading, before, o.Thresholds) {
		if worst, ok := p.findings[f.Name]; !ok || f.Level > worst.Level {
			p.findings[f.Name] = f
		}
	}
	return p
}

// list reads the entities of a path once; when they cannot be read the check that asks is skipped.
func (p *patient) list(ctx context.Context, path string) ([]ops.Entity, *result) {
	if _, read := p.entities[path]; !read && p.failed[path] == nil {
		p.entities[path], p.failed[path] = p.Stack.List(ctx, "/"+path)
	}
	if err := p.failed[path]; err != nil {
		r := skip("%s cannot be read: %v", path, err)
		return nil, &r
	}
	return p.entities[path], nil
}

// names joins the names of entities, a few of them.
func names(all []ops.Entity, name func(ops.Entity) string) string {
	const few = 5
	var list []string
	for _, e := range all[:min(len(all), few)] {
		list = append(list, name(e))
	}
	text := strings.Join(list, ", ")
	if len(all) > few {
		text += ", ..."
	}
	return text
}

// label is an entity's name, else its id.
func label(e ops.Entity) string {
	for _, k := range []string{"name", "username", "custom_id", "id"} {
		if s := e.Text(k); s != "" {
			return s
		}
	}
	return "?"
}

// threshold makes a check of a measure that was judged.
func threshold(name string) func(context.Context, *patient) result {
	return finding(name, "seki monitor shows how it goes on; the thresholds file says from where it counts")
}

// finding makes a check of what the readings found.
func finding(name, fix string) func(context.Context, *patient) result {
	return func(_ context.Context, p *patient) result {
		f, ok := p.findings[name]
		if !ok {
			return skip("nothing to measure")
		}
		if f.Level == ops.OK {
			return well("%s", f.Text)
		}
		return ill(f.Level, fix, "%s", f.Text)
	}
}
