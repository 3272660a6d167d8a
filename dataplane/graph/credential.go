package graph

import (
	"crypto/subtle"
	"maps"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/graph/index"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// credentialTable holds the credentials of one kind.
type credentialTable struct {
	byID  index.Index[credential]
	byKey index.Index[credential] // the hash is seeded: who tries keys learns nothing of others
}

type credentialEditor struct {
	byID  *index.Editor[credential]
	byKey *index.Editor[credential]
}

// credential is what a request is recognised by, with the id of its consumer: the consumer
// itself may be unknown.
type credential struct {
	plugin.Credential
	consumer string
}

func credentialID(c *credential) string  { return c.ID }
func credentialKey(c *credential) string { return c.Key }

// credentialRead is an entity of one kind as the table keeps it: its consumer, the key that
// finds it, when it expires (Unix seconds, 0: never), and what its plugin needs to verify a
// request.
type credentialRead struct {
	consumer string
	key      string
	expires  int64
	secret   any
}

// credentialReader knows one kind of credential. One kind more is an entry in readers, in
// credentialKinds, in kinds and in plugin.CredentialOf.
type credentialReader struct {
	empty    func() owned
	keyField string
}

// owned is any credential.
type owned interface {
	proto.Message
	GetConsumer() string
}

var readers = map[string]credentialReader{
	plugin.KeyCredentials:   {func() owned { return &entityv1.KeyauthCredential{} }, "key"},
	plugin.BasicCredentials: {func() owned { return &entityv1.BasicauthCredential{} }, "username"},
	plugin.JWTCredentials:   {func() owned { return &entityv1.JwtSecret{} }, "key"},
	plugin.HMACCredentials:  {func() owned { return &entityv1.HmacauthCredential{} }, "username"},
	plugin.OAuth2Clients:    {func() owned { return &entityv1.Oauth2Credential{} }, "client_id"},
}

func (e *edit) credentialEditor(kind string) *credentialEditor {
	t := e.credentials[kind]
	if t == nil {
		was := credentialTable{index.New(credentialID), index.New(credentialKey)}
		if p := e.prev.credentials[kind]; p != nil {
			was = *p
		}
		t = &credentialEditor{byID: was.byID.Edit(), byKey: was.byKey.Edit()}
		e.credentials[kind] = t
	}
	return t
}

func (e *edit) closeCredentials() map[string]*credentialTable {
	if len(e.credentials) == 0 {
		return e.prev.credentials
	}
	tables := maps.Clone(e.prev.credentials)
	if tables == nil {
		tables = map[string]*credentialTable{}
	}
	for kind, t := range e.credentials {
		tables[kind] = &credentialTable{byID: t.byID.Index(), byKey: t.byKey.Index()}
	}
	return tables
}

func takeCredential(e *edit, c *Change) {
	t := e.credentialEditor(c.Kind)
	old := t.byID.Get(c.ID)
	if old == nil {
		return
	}
	t.byID.Delete(c.ID)
	t.byKey.Delete(old.Key)
	e.draft(old.consumer).remove(old)
}

func putCredential(e *edit, c *Change) {
	r := readers[c.Kind]
	m := r.empty()
	if !e.decode(c, m) {
		return
	}
	key, secret, err := plugin.CredentialOf(c.Kind, m)
	if err != nil {
		field, reason, _ := strings.Cut(err.Error(), ": ")
		e.refuse(c.Kind, c.ID, field, reason)
		return
	}
	read := credentialRead{consumer: m.GetConsumer(), key: key, secret: secret}
	if limited, ok := m.(interface{ GetExpiresAt() int64 }); ok {
		read.expires = limited.GetExpiresAt()
	}
	t := e.credentialEditor(c.Kind)
	switch holder := t.byKey.Get(read.key); {
	case read.consumer == "":
		e.refuse(c.Kind, c.ID, "consumer", "required field missing")
		return
	case read.key == "":
		e.refuse(c.Kind, c.ID, r.keyField, "required field missing")
		return
	case holder != nil:
		e.refuse(c.Kind, c.ID, r.keyField, "is already taken by "+c.Kind+"/"+holder.ID)
		return
	}
	d := e.draft(read.consumer)
	read.consumer = d.id
	n := newCredential(c.Kind, c.ID, read)
	t.byID.Set(n)
	t.byKey.Set(n)
	d.add(n)
}

// newCredential keeps id and key in one piece of memory: there may be millions.
func newCredential(kind, id string, read credentialRead) *credential {
	text := id + read.key
	n := &credential{
		Credential: plugin.Credential{Kind: kind, ID: text[:len(id)], Key: text[len(id):], Secret: read.secret},
		consumer:   read.consumer,
	}
	if read.expires != 0 {
		n.Expires = time.Unix(read.expires, 0)
	}
	return n
}

// bind gives a credential its consumer. The one that an older graph serves is not changed.
func (e *edit) bind(kind, id string, consumer *plugin.Consumer) {
	t := e.credentialEditor(kind)
	old := t.byID.Get(id)
	if old == nil || old.Consumer == consumer {
		return
	}
	next := *old
	next.Consumer = consumer
	t.byID.Set(&next)
	t.byKey.Set(&next)
}

// directory is a graph as filters see it.
type directory Graph

// nobody is the directory of an empty graph.
var nobody = (*directory)(&Graph{})

// Directory returns who is known at this revision. Its methods do not allocate or block.
func (g *Graph) Directory() plugin.Directory {
	if g == nil {
		return nobody
	}
	return (*directory)(g)
}

// Credential returns the credential of a kind that key finds, or nil if there is none, if it
// has expired, or if its consumer is not known.
func (d *directory) Credential(kind, key string) *plugin.Credential {
	t := d.credentials[kind]
	if t == nil {
		return nil
	}
	if kind == plugin.KeyCredentials && d.keyHash != nil {
		hashed, state := d.keyHash.hash(key)
		defer d.keyHash.release(state)
		key = hashed
	}
	return d.current(t.byKey.Find(key, sameSecret))
}

// CredentialByID implements plugin.Directory.
func (d *directory) CredentialByID(kind, id string) *plugin.Credential {
	t := d.credentials[kind]
	if t == nil {
		return nil
	}
	return d.current(t.byID.Get(id))
}

func (d *directory) current(c *credential) *plugin.Credential {
	if c == nil || c.Consumer == nil {
		return nil
	}
	if !c.Expires.IsZero() && !d.now().Before(c.Expires) {
		return nil
	}
	return &c.Credential
}

// sameSecret takes the same time for every wrong key of one length.
func sameSecret(stored, key string) bool {
	if len(stored) != len(key) {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(stored), []byte(key)) == 1
}

// Consumer returns the consumer of that id or username, or nil.
func (d *directory) Consumer(idOrName string) *plugin.Consumer {
	if n, ok := d.consumers.Get(idOrName); ok && n.consumer != nil {
		return n.consumer
	}
	id, ok := d.usernames.Get(idOrName)
	if !ok {
		return nil
	}
	n, _ := d.consumers.Get(id)
	return n.consumer
}
