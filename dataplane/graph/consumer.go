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

// credentialKinds gives each kind its bit in a kindSet.
var credentialKinds = []string{"keyauth_credentials", "basicauth_credentials", "jwt_secrets", "hmacauth_credentials", "oauth2_credentials"}

// kindSet is a set of credentialKinds.
type kindSet uint8

func kindBit(kind string) kindSet { return 1 << slices.Index(credentialKinds, kind) }

func (s kindSet) each(f func(kind string)) {
	for i, kind := range credentialKinds {
		if s&(1<<i) != 0 {
			f(kind)
		}
	}
}

// credentialSet names the credentials of one consumer: by id, the kinds that have one of that
// id. Most consumers have one credential, which then needs no map.
type credentialSet struct {
	id    string
	kinds kindSet // 0: none, or many
	many  *hamt.Map[kindSet]
}

func (s credentialSet) empty() bool { return s.many == nil && s.kinds == 0 }

func (s credentialSet) each(f func(kind, id string)) {
	s.kinds.each(func(kind string) { f(kind, s.id) })
	if s.many != nil {
		for id, kinds := range s.many.All() {
			kinds.each(func(kind string) { f(kind, id) })
		}
	}
}

// consumerDraft is a consumer that an edit changes, or whose credentials it changes.
type consumerDraft struct {
	id      string
	was, is *plugin.Consumer
	regroup bool          // groups must be read anew
	set     credentialSet // many is not used here
	many    *hamt.Editor[kindSet]
	had     bool          // credentials, before this edit
	fresh   []*credential // made by this edit, which may therefore change them
}

func (e *edit) draft(id string) *consumerDraft {
	d := e.staleConsumers[id]
	if d != nil {
		return d
	}
	d = &consumerDraft{id: id}
	if n, ok := e.consumers.Get(id); ok {
		d.was, d.is, d.set = n.consumer, n.consumer, n.credentials
		d.had = !n.credentials.empty()
		if d.is != nil {
			d.id = d.is.ID // one copy of the text for all its credentials
		}
		if n.credentials.many != nil {
			d.many = n.credentials.many.Edit()
		}
	}
	e.staleConsumers[id] = d
	return d
}

func (d *consumerDraft) add(c *credential) {
	d.fresh = append(d.fresh, c)
	bit := kindBit(c.Kind)
	switch {
	case d.many != nil:
	case d.set.kinds == 0 || d.set.id == c.ID:
		d.set.id = c.ID
		d.set.kinds |= bit
		return
	default:
		d.many = (hamt.Map[kindSet]{}).Edit()
		d.many.Set(d.set.id, d.set.kinds)
		d.set = credentialSet{}
	}
	kinds, _ := d.many.Get(c.ID)
	d.many.Set(c.ID, kinds|bit)
}

func (d *consumerDraft) remove(c *credential) {
	bit := kindBit(c.Kind)
	if d.many == nil {
		d.set.kinds &^= bit
		return
	}
	if kinds, _ := d.many.Get(c.ID); kinds&^bit != 0 {
		d.many.Set(c.ID, kinds&^bit)
	} else {
		d.many.Delete(c.ID)
	}
}

// closed returns the set with the changes made.
func (d *consumerDraft) closed() credentialSet {
	switch {
	case d.many == nil && d.set.kinds == 0, d.many != nil && d.many.Len() == 0:
		return credentialSet{}
	case d.many == nil:
		return credentialSet{id: d.set.id, kinds: d.set.kinds}
	}
	m := d.many.Map()
	if m.Len() == 1 {
		for id, kinds := range m.All() {
			return credentialSet{id: id, kinds: kinds}
		}
	}
	return credentialSet{many: &m}
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
		set := d.closed()
		for _, c := range d.fresh {
			c.Consumer = d.is
		}
		if d.is == nil && set.empty() {
			e.consumers.Delete(id)
			continue
		}
		e.consumers.Set(id, &consumerNode{consumer: d.is, credentials: set})
		if d.is != d.was && d.had {
			set.each(func(kind, id string) { e.bind(kind, id, d.is) })
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
