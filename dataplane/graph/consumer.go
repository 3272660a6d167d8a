package graph

import (
	"slices"

	"github.com/sekifuda/sekifuda/dataplane/router/hamt"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// consumerNode is a consumer entity with its groups, and the names of its credentials.
type consumerNode struct {
	consumer    *plugin.Consumer // nil: there are only credentials of it
	credentials credentialSet
}

// aclNode is an ACL entity: a consumer's being in a group.
type aclNode struct {
	consumer string
	group    string
}

// credentialName finds a credential.
type credentialName struct{ kind, id string }

// credentialSet names the credentials of one consumer. Most consumers have one.
type credentialSet struct {
	one  credentialName
	many *hamt.Map[credentialName]
}

// consumerDraft is a consumer that an edit changes, or whose credentials it changes.
type consumerDraft struct {
	was, is *plugin.Consumer
	regroup bool // groups must be read anew
	one     credentialName
	many    *hamt.Editor[credentialName]
	fresh   []credentialName // put by this edit
}

func (e *edit) draft(id string) *consumerDraft {
	d := e.staleConsumers[id]
	if d != nil {
		return d
	}
	d = &consumerDraft{}
	if n, ok := e.consumers.Get(id); ok {
		d.was, d.is, d.one = n.consumer, n.consumer, n.credentials.one
		if n.credentials.many != nil {
			d.many = n.credentials.many.Edit()
		}
	}
	e.staleConsumers[id] = d
	return d
}

func (d *consumerDraft) add(name credentialName) {
	d.fresh = append(d.fresh, name)
	switch {
	case d.many == nil && d.one == credentialName{}:
		d.one = name
		return
	case d.many == nil:
		d.many = (hamt.Map[credentialName]{}).Edit()
		d.many.Set(d.one.key(), d.one)
		d.one = credentialName{}
	}
	d.many.Set(name.key(), name)
}

func (d *consumerDraft) remove(name credentialName) {
	if d.many != nil {
		d.many.Delete(name.key())
	} else if d.one == name {
		d.one = credentialName{}
	}
}

func (n credentialName) key() string { return n.kind + "/" + n.id }

// set closes the draft's set.
func (d *consumerDraft) set() credentialSet {
	switch {
	case d.many == nil:
		return credentialSet{one: d.one}
	case d.many.Len() == 0:
		return credentialSet{}
	}
	m := d.many.Map()
	if m.Len() == 1 {
		for _, name := range m.All() {
			return credentialSet{one: name}
		}
	}
	return credentialSet{many: &m}
}

func (s credentialSet) empty() bool { return s.many == nil && s.one == credentialName{} }

func (s credentialSet) each(f func(credentialName)) {
	if s.one != (credentialName{}) {
		f(s.one)
	}
	if s.many != nil {
		for _, name := range s.many.All() {
			f(name)
		}
	}
}

func takeConsumer(e *edit, c *Change) {
	old, ok := e.consumers.Get(c.ID)
	if !ok || old.consumer == nil {
		return
	}
	d := e.draft(c.ID)
	d.is = nil
	if name := old.consumer.Username; name != "" {
		e.usernames.Delete(name)
	}
}

func putConsumer(e *edit, c *Change) {
	m := &entityv1.Consumer{}
	if !e.decode(c, m) {
		return
	}
	if name := m.GetUsername(); name != "" {
		if holder, taken := e.usernames.Get(name); taken && holder != c.ID {
			e.refuse(c.Kind, c.ID, "username", "is already taken by consumers/"+holder)
			return
		}
		e.usernames.Set(name, c.ID)
	}
	d := e.draft(c.ID)
	d.regroup = true
	d.is = &plugin.Consumer{
		ID:       c.ID,
		Username: m.GetUsername(),
		CustomID: m.GetCustomId(),
		JSON:     consumerJSON(m),
		Tags:     m.Tags,
	}
}

func takeACL(e *edit, c *Change) {
	old, ok := e.acls.Get(c.ID)
	if !ok {
		return
	}
	e.acls.Delete(c.ID)
	e.unlink(aclsOfConsumer, old.consumer, c.ID)
	e.draft(old.consumer).regroup = true
}

func putACL(e *edit, c *Change) {
	m := &entityv1.Acl{}
	if !e.decode(c, m) {
		return
	}
	e.acls.Set(c.ID, &aclNode{consumer: m.GetConsumer(), group: m.GetGroup()})
	e.link(aclsOfConsumer, m.GetConsumer(), c.ID)
	e.draft(m.GetConsumer()).regroup = true
}

// resolveConsumers closes the drafts. A consumer that changed gives all its credentials the
// new one: that costs their number.
func (e *edit) resolveConsumers() {
	for id, d := range e.staleConsumers {
		if d.is != nil && d.regroup {
			next := *d.is
			next.Groups = e.groups(id)
			d.is = &next
		}
		set := d.set()
		if d.is == nil && set.empty() {
			e.consumers.Delete(id)
			continue
		}
		e.consumers.Set(id, &consumerNode{consumer: d.is, credentials: set})
		if d.is != d.was {
			set.each(func(name credentialName) { e.bind(name, d.is) })
			continue
		}
		for _, name := range d.fresh {
			e.bind(name, d.is)
		}
	}
}

func (e *edit) groups(consumer string) []string {
	var groups []string
	for id := range e.linked(aclsOfConsumer, consumer) {
		n, _ := e.acls.Get(id)
		groups = append(groups, n.group)
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}
