package schema

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sekifuda/sekifuda/model/fault"
)

// purpose is why an entity is made.
type purpose int

const (
	judged   purpose = iota // only to see whether it passes
	inserted                // to be stored
	restored                // to be stored again: it came from a store
)

func (t *Table) insert(body Body, now time.Time, why purpose) (proto.Message, error) {
	b := cloneBody(body)
	life, err := t.takeTTL(b, now)
	if err != nil && why != judged { // Kong 3.9.1 does not look at options when it only validates
		return nil, err
	}
	if t.by != nil {
		if _, present := b[t.by.Name]; !present && t.by.HasDefault {
			b[t.by.Name] = clone(t.by.Default)
		}
	}
	v, err := t.choose(b)
	if err != nil {
		return nil, err
	}
	if errs := v.expand(b); errs != nil {
		return nil, Violation(errs)
	}
	if err := t.automatic(b, now); err != nil {
		return nil, err
	}
	v.automaticConfig(b)
	v.fill(b)
	c := Change{Next: b, Given: body, Stored: why == restored}
	m, err := t.settle(v, c, why != judged)
	if err == nil && life.said {
		t.setExpiry(m.ProtoReflect(), life.at)
	}
	return m, err
}

// Update makes the next state of an entity of a PATCH body. Neither old nor body is changed;
// the id stays whatever body says.
func (t *Table) Update(old proto.Message, body Body, now time.Time) (proto.Message, error) {
	patch := cloneBody(body)
	life, err := t.takeTTL(patch, now)
	if err != nil {
		return nil, err
	}
	delete(patch, "id")
	stored, known := t.load(old)
	known.unfold(stored)
	v, err := t.choose(t.base.merge(patch, stored))
	if err != nil {
		return nil, err
	}
	if errs := v.expand(patch); errs != nil {
		return nil, Violation(errs)
	}
	if f := v.byName["updated_at"]; f != nil {
		patch[f.Name] = f.clock(now)
	}
	next := v.merge(patch, stored)
	// Kong 3.9.1 runs the shorthands of the entity once more over the merged state, so an
	// algorithm alone cannot contradict the stored hash_on.
	if errs := v.expand(next); errs != nil {
		return nil, Violation(errs)
	}
	m, err := t.settle(v, Change{Next: next, Given: body, Old: stored}, true)
	if err != nil {
		return nil, err
	}
	t.keepInternal(m.ProtoReflect(), old.ProtoReflect())
	if life.said {
		t.setExpiry(m.ProtoReflect(), life.at)
	}
	return m, nil
}

// Complete makes an entity that came typed whole: defaults for what is absent, then all
// rules, as Insert does.
func (t *Table) Complete(m proto.Message, now time.Time) (proto.Message, error) {
	why := inserted
	if t.hasInternal(m.ProtoReflect()) {
		why = restored
	}
	return t.complete(m, now, why)
}

// CompleteStored is Complete of what a store gave, as Restore is Insert.
func (t *Table) CompleteStored(m proto.Message, now time.Time) (proto.Message, error) {
	return t.complete(m, now, restored)
}

func (t *Table) complete(m proto.Message, now time.Time, why purpose) (proto.Message, error) {
	if m.ProtoReflect().Descriptor() != t.message.Descriptor() {
		return nil, fmt.Errorf("complete %s: got a %s", t.Kind, m.ProtoReflect().Descriptor().FullName())
	}
	b, _ := t.load(m)
	next, err := t.insert(b, now, why)
	if err != nil {
		return nil, err
	}
	t.keepInternal(next.ProtoReflect(), m.ProtoReflect())
	return next, nil
}

// choose picks the rules that hold for b. Without them nothing else can be checked, so the
// violation stands alone.
func (t *Table) choose(b Body) (*variant, error) {
	v, text := t.variantFor(b)
	if v != nil {
		return v, nil
	}
	name := "name"
	if t.by != nil {
		name = t.by.Name
	}
	return nil, Violation(fault.Tree{name: text})
}

// settle checks a whole body and writes it into a message.
func (t *Table) settle(v *variant, c Change, finish bool) (proto.Message, error) {
	switch bad := v.validate(c.Next, v.extra, c.Old != nil).(type) {
	case nil:
	case fault.Tree:
		return nil, Violation(bad)
	case string:
		return nil, Violation(fault.Tree{atEntity: []any{bad}})
	}
	if finish && t.meaning.Finish != nil {
		if err := t.meaning.Finish(c); err != nil {
			return nil, err
		}
	}
	m := t.message.New()
	if err := v.store(m, c.Next); err != nil {
		return nil, err
	}
	return m.Interface(), nil
}

// load reads a stored entity with the config of its own name.
func (t *Table) load(m proto.Message) (Body, *variant) {
	pm := m.ProtoReflect()
	v := t.base
	if t.named != nil {
		if got := t.named[pm.Get(t.base.byName["name"].fd).String()]; got != nil {
			v = got
		}
	}
	return v.load(pm, v), v
}

// automatic fills ids, times and keys that nobody said.
func (t *Table) automatic(b Body, now time.Time) error {
	for _, f := range t.base.fields {
		if !f.Auto {
			continue
		}
		v, present := b[f.Name]
		switch {
		case f.rule.uuid:
			if v == nil {
				id, err := uuid.NewRandom()
				if err != nil {
					return fmt.Errorf("make an id: %w", err)
				}
				b[f.Name] = id.String()
			}
		case f.Type == String:
			if !present {
				b[f.Name] = randomKey()
			}
		case f.Name == "updated_at", v == nil:
			b[f.Name] = f.clock(now)
		}
	}
	return nil
}

// automaticConfig makes the keys of a config that nobody said.
func (v *variant) automaticConfig(b Body) {
	for _, f := range v.fields {
		config, ok := b[f.Name].(Body)
		if f.record == nil || !ok {
			continue
		}
		for _, f := range f.record.fields {
			if _, present := config[f.Name]; f.Auto && f.Type == String && !present {
				config[f.Name] = randomKey()
			}
		}
	}
}

// clock is now in whole seconds, or with milliseconds where Kong keeps a number.
func (f *Field) clock(now time.Time) any {
	if f.Type == Number {
		return float64(now.UnixMilli()) / 1000
	}
	return float64(now.Unix())
}

// randomKey returns 32 characters of [A-Za-z0-9], about 190 bits.
func randomKey() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, 32)
	buf := make([]byte, 48)
	for {
		rand.Read(buf) // never fails
		for _, c := range buf {
			// 248 is the last multiple of 62 in a byte: above it some would come up more often.
			if c < 248 {
				if out = append(out, alphabet[c%62]); len(out) == cap(out) {
					return string(out)
				}
			}
		}
	}
}

// maxTTL is Kong's bound, in seconds.
const maxTTL = 100_000_000

// life is what a body said of an entity's end.
type life struct {
	said bool
	at   int64 // Unix seconds; 0: never
}

// takeTTL takes the member "ttl", which is an option and no field, out of a body.
func (t *Table) takeTTL(b Body, now time.Time) (life, error) {
	if !t.TTL {
		return life{}, nil
	}
	v, present := b["ttl"]
	delete(b, "ttl")
	if !present || v == nil {
		return life{said: present}, nil
	}
	n, ok := v.(float64)
	if !ok || n != float64(int64(n)) || n < 0 || n > maxTTL {
		return life{}, InvalidOption("ttl", "must be an integer between 0 and 100000000")
	}
	if n == 0 {
		return life{said: true}, nil
	}
	return life{said: true, at: now.Unix() + int64(n)}, nil
}

func (t *Table) setExpiry(m protoreflect.Message, at int64) {
	f := t.base.byName["expires_at"]
	if f == nil {
		return
	}
	if at == 0 {
		m.Clear(f.fd)
		return
	}
	m.Set(f.fd, protoreflect.ValueOfInt64(at))
}

// hasInternal reports whether an entity holds what no body can say: then a write made it.
func (t *Table) hasInternal(m protoreflect.Message) bool {
	for _, f := range t.base.fields {
		if f.Internal && m.Has(f.fd) {
			return true
		}
	}
	return false
}

// keepInternal carries over what no body can say.
func (t *Table) keepInternal(next, old protoreflect.Message) {
	for _, f := range t.base.fields {
		if f.Internal && old.Has(f.fd) && !next.Has(f.fd) {
			next.Set(f.fd, old.Get(f.fd))
		}
	}
}

// Expired tells whether an entity's time to live has passed.
func (t *Table) Expired(m proto.Message, now time.Time) bool {
	at := t.expiry(m)
	return at != 0 && now.Unix() >= at
}

// expiry returns Unix seconds, 0 for never.
func (t *Table) expiry(m proto.Message) int64 {
	f := t.base.byName["expires_at"]
	if !t.TTL || f == nil {
		return 0
	}
	return m.ProtoReflect().Get(f.fd).Int()
}
