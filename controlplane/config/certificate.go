package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// A certificate's "snis" member is a list of names in requests and answers, and entities of
// their own in the store: they are written and removed with the certificate.

// maxSNIs bounds how many server names of one certificate are read.
const maxSNIs = 10000

// certificateOf finds a certificate by one of its server names, as /certificates/{sni}
// addresses it.
func (c *Config) certificateOf(ctx context.Context, name string) (*store.Object, error) {
	sni, err := c.store.Find(ctx, "snis", store.Key{Index: "name", Value: name})
	if err != nil {
		return nil, err
	}
	m := new(entityv1.Sni)
	if err := proto.Unmarshal(sni.Body, m); err != nil {
		return nil, fmt.Errorf("decode snis %s: %w", sni.ID, err)
	}
	return c.store.Get(ctx, "certificates", m.GetCertificate())
}

// snisOf returns the server names of a certificate.
func (c *Config) snisOf(ctx context.Context, id string) ([]*Entity, error) {
	t := c.schema.Table("snis")
	list, _, err := c.List(ctx, t, ListQuery{Size: maxSNIs, Under: &Under{Field: "certificate", ID: id}})
	return list, err
}

func names(snis []*Entity) []any {
	list := make([]string, 0, len(snis))
	for _, e := range snis {
		list = append(list, e.Message.(*entityv1.Sni).GetName())
	}
	sort.Strings(list)
	out := make([]any, len(list))
	for i, n := range list {
		out[i] = n
	}
	return out
}

// prepareCertificate refuses server names that are given twice or belong to another
// certificate.
func (c *Config) prepareCertificate(ctx context.Context, t *schema.Table, id string, body schema.Body) error {
	if t.Kind != "certificates" {
		return nil
	}
	seen := map[string]bool{}
	for _, name := range stringsOf(body["snis"]) {
		if seen[name] {
			return schema.Violation(fault.Tree{"snis": name + " is duplicated"})
		}
		seen[name] = true
		o, err := c.store.Find(ctx, "snis", store.Key{Index: "name", Value: name})
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return c.fault(t, nil, err)
		}
		m := new(entityv1.Sni)
		if err := proto.Unmarshal(o.Body, m); err != nil {
			return fmt.Errorf("decode snis %s: %w", o.ID, err)
		}
		if m.GetCertificate() != id {
			return schema.Violation(fault.Tree{
				"snis": fmt.Sprintf("%s already associated with existing certificate '%s'", name, m.GetCertificate()),
			})
		}
	}
	return nil
}

// planSNIs takes the server names out of a certificate and adds the writes that make them
// its own: those it lost go, new ones come. Names that a body does not mention stay.
func (c *Config) planSNIs(ctx context.Context, p *plan, id string, m proto.Message, mentioned bool) error {
	cert, ok := m.(*entityv1.Certificate)
	if !ok {
		return nil
	}
	list := cert.GetSnis()
	cert.Snis = nil
	if !mentioned && len(list) == 0 {
		return nil
	}
	old, err := c.snisOf(ctx, id)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, e := range old {
		name := e.Message.(*entityv1.Sni).GetName()
		have[name] = true
		if !slices.Contains(list, name) {
			p.ops = append(p.ops, store.Op{Object: store.Object{Kind: "snis", ID: e.ID}})
		}
	}
	t := c.schema.Table("snis")
	for _, name := range list {
		if have[name] {
			continue
		}
		sni, err := t.Insert(schema.Body{"name": name, "certificate": schema.Body{"id": id}}, c.now())
		if err != nil {
			return err
		}
		op, err := putOp(t, t.ID(sni), sni)
		if err != nil {
			return err
		}
		p.ops = append(p.ops, op)
	}
	return nil
}

func stringsOf(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, x := range list {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// guardRemoval refuses to remove what others name without a reference that the store sees.
func (c *Config) guardRemoval(ctx context.Context, e *Entity) error {
	if e.Table.Kind != "ca_certificates" {
		return nil
	}
	t := c.schema.Table("services")
	for s, err := range c.each(ctx, t, nil) {
		if err != nil {
			return err
		}
		if slices.Contains(s.Message.(*entityv1.Service).GetCaCertificates(), e.ID) {
			return schema.CAReferenced(e.ID, t.Kind, s.ID)
		}
	}
	return nil
}

// needs notes the CA certificates that an entity lists: ids, which are no references to the
// store. No gate could serve the service without them.
func (p *plan) needs(m proto.Message) {
	if s, ok := m.(*entityv1.Service); ok {
		p.authorities = append(p.authorities, s.GetCaCertificates()...)
	}
}

// checkAuthorities refuses CA certificates that will not be there after the plan.
func (c *Config) checkAuthorities(ctx context.Context, p *plan) error {
	for _, id := range p.authorities {
		there, said := p.after("ca_certificates", id)
		if !said {
			_, err := c.store.Get(ctx, "ca_certificates", id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return c.fault(nil, nil, err)
			}
			there = err == nil
		}
		if !there {
			return schema.ForeignMissing(schema.Ref{Field: "ca_certificates", Kind: "ca_certificates", ID: id})
		}
	}
	return nil
}

// after tells whether the plan leaves an object there, if it says anything of it.
func (p *plan) after(kind, id string) (there, said bool) {
	for i := range p.ops {
		if o := &p.ops[i]; o.Kind == kind && o.ID == id {
			there, said = !o.Delete(), true
		}
	}
	return there, said
}
