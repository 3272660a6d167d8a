package graph

import (
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Compiler makes graphs. Its fields are set before first use and not changed afterwards; it
// is then safe for concurrent use.
type Compiler struct {
	Plugins *plugin.Set
	// Host lends each plugin configuration its host; nil lends one that does nothing. It is
	// called by Apply, also for a graph that is refused in the end.
	Host func(plugin.Scope) plugin.Host
	// Getenv looks an environment variable up, for references to the vault "env" in
	// configurations of plugins; nil: references stay as they are.
	Getenv func(string) (string, bool)
	// RouterFlavor is the gateway's: under "expressions", routes are served by their expression;
	// under any other, routes that have one are left out, as Kong does.
	RouterFlavor string
	// Now is the clock by which credentials expire, read when one is looked up; nil is the
	// system's.
	Now func() time.Time
}

// Change puts an entity, or removes it when Body is nil. Body is the entity's message,
// encoded; who gave it does not change it afterwards. Of several changes of one entity the
// last one counts.
type Change struct {
	Kind string // "routes"
	ID   string
	Rev  uint64 // of the entity's last change
	Body []byte
}

// Violation is one object that cannot be compiled.
type Violation struct {
	Object string // "<kind>/<id>"
	Field  string // "" when it is the whole object
	Reason string
}

// Refusal is why no graph could be made: every object that cannot be compiled.
type Refusal struct {
	Violations []Violation
}

func (r *Refusal) Error() string {
	if len(r.Violations) == 0 {
		return "compile configuration: refused"
	}
	v := r.Violations[0]
	text := "compile " + v.Object + ": "
	if v.Field != "" {
		text += v.Field + ": "
	}
	text += v.Reason
	if n := len(r.Violations) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Apply returns the graph of revision rev: prev (nil: the empty one) with the changes made.
// prev stays as it is and may go on serving, also when the changes are refused, which is a
// *Refusal. The cost is that of the changes and of what depends on them.
func (c *Compiler) Apply(prev *Graph, changes []Change, rev uint64) (*Graph, error) {
	if prev == nil {
		prev = &Graph{}
	}
	e := begin(c, prev)
	changes = lastOfEach(changes)
	// What is replaced is taken out first, so that a unique value may change hands within
	// one revision, in any order.
	for i := range changes {
		if k, ok := kinds[changes[i].Kind]; ok {
			k.take(e, &changes[i])
		}
	}
	for i := range changes {
		e.put(&changes[i])
	}
	e.resolve()
	if len(e.violations) > 0 {
		return nil, &Refusal{Violations: e.violations}
	}
	return e.graph(rev)
}

// kind is what an edit does with the entities of one kind. take removes an entity, if it is
// there, from all tables; put adds one that is not there.
type kind struct {
	take func(*edit, *Change)
	put  func(*edit, *Change)
}

var kinds = map[string]kind{
	"routes":          {takeRoute, putRoute},
	"services":        {takeService, putService},
	"upstreams":       {takeBalancer, putBalancer},
	"targets":         {takeTarget, putTarget},
	"certificates":    {takeCertificate, putCertificate},
	"ca_certificates": {takeAuthority, putAuthority},
	"snis":            {takeSNI, putSNI},
	"plugins":         {takePlugin, putPlugin},
	"consumers":       {takeConsumer, putConsumer},
	"acls":            {takeACL, putACL},

	"keyauth_credentials":   {takeCredential, putCredential},
	"basicauth_credentials": {takeCredential, putCredential},
	"jwt_secrets":           {takeCredential, putCredential},
	"hmacauth_credentials":  {takeCredential, putCredential},
	"oauth2_credentials":    {takeCredential, putCredential},
	"oauth2_tokens":         {takeToken, putToken},
	feedv1.KeyHashKind:      {takeKeyHash, putKeyHash},
	feedv1.SettingsKind:     {ignore, putSettings},

	// Nothing here uses these yet; a snapshot may hold them.
	"keys":     {ignore, ignore},
	"key_sets": {ignore, ignore},
	"vaults":   {ignore, ignore},
}

func ignore(*edit, *Change) {}

func (e *edit) put(c *Change) {
	if c.Body == nil {
		return
	}
	k, ok := kinds[c.Kind]
	if !ok {
		e.refuse(c.Kind, c.ID, "", "kind "+c.Kind+" is not known here")
		return
	}
	k.put(e, c)
}

// lastOfEach drops changes that a later one of the same entity overtakes.
func lastOfEach(changes []Change) []Change {
	if len(changes) < 2 {
		return changes
	}
	type object struct{ kind, id string }
	last := make(map[object]int, len(changes))
	for i := range changes {
		last[object{changes[i].Kind, changes[i].ID}] = i
	}
	if len(last) == len(changes) {
		return changes
	}
	kept := make([]Change, 0, len(last))
	for i := range changes {
		if last[object{changes[i].Kind, changes[i].ID}] == i {
			kept = append(kept, changes[i])
		}
	}
	return kept
}
