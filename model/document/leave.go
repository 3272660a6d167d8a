package document

import (
	"fmt"
	"slices"

	"github.com/sekifuda/sekifuda/model/schema"
)

// Left is an entity that a document goes on without.
type Left struct {
	Where, Kind, Reason string
}

// Leave takes out the entities that reason has something to say of, and what stands below
// them. It sees an entity as the file says it, and may change it.
func (d *Document) Leave(reason func(kind string, body schema.Body) string) []Left {
	return d.leave(func(it *item) string { return reason(it.table.Kind, it.body) })
}

func (d *Document) leave(reason func(*item) string) []Left {
	var left []Left
	gone := map[*item]bool{}
	d.items = slices.DeleteFunc(d.items, func(it *item) bool {
		why := reason(it)
		if why == "" && gone[it.owner] {
			why = "stands below " + it.owner.where
		}
		if why == "" {
			return false
		}
		gone[it] = true
		left = append(left, Left{it.where, it.table.Kind, why})
		return true
	})
	return left
}

// LeaveRefused takes out the entities that a plan refused, and what stands below them.
func (d *Document) LeaveRefused(r *Refused) []Left {
	why := map[string]string{}
	for _, p := range r.problems {
		if p.item != nil {
			why[p.where] = p.err.Error()
		}
	}
	d.problems = nil
	return d.leave(func(it *item) string { return why[it.where] })
}

// LeaveUnknown takes out the kinds of entities that are not known here.
func (d *Document) LeaveUnknown() []Unknown {
	unknown := d.unknown
	d.unknown = nil
	return unknown
}

// Stored reports whether passwords are in the form that is kept.
func (d *Document) Stored() bool { return d.stored }

// Len is how many entities the document has.
func (d *Document) Len() int { return len(d.items) }

// Problems are everything that is wrong, a line for each.
func (r *Refused) Problems() []string {
	lines := make([]string, len(r.problems))
	for i, p := range r.problems {
		lines[i] = p.where + ": " + p.err.Error()
	}
	return lines
}

// spreadSNIs turns the server names that a certificate lists into entities below it.
func (d *Document) spreadSNIs() {
	t := d.schema.Table("snis")
	for _, it := range slices.Clone(d.items) {
		list, ok := it.body["snis"].([]any)
		if it.table.Kind != "certificates" || !ok {
			continue
		}
		delete(it.body, "snis")
		for i, name := range list {
			d.readItem(&item{
				table: t, body: schema.Body{"name": name}, owner: it, link: "certificate",
				where: fmt.Sprintf("%s.snis[%d]", it.where, i), path: append(slices.Clone(it.path), "snis", i),
			})
		}
	}
}
