package schema

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

var deterministic = proto.MarshalOptions{Deterministic: true}

// Marshal encodes an entity as it is stored: equal entities give equal bytes.
func Marshal(m proto.Message) ([]byte, error) {
	b, err := deterministic.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode entity: %w", err)
	}
	return b, nil
}

// Unmarshal decodes an entity of the table.
func (t *Table) Unmarshal(b []byte) (proto.Message, error) {
	m := t.New()
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", t.Kind, err)
	}
	return m, nil
}

// store writes a validated body into an empty message.
func (v *variant) store(m protoreflect.Message, b Body) error {
	return v.record.store(m, b, v)
}

func (r *record) store(m protoreflect.Message, b Body, v *variant) error {
	var empty []protowire.Number
	for _, f := range r.fields {
		val := b[f.Name]
		if val == nil || f.fd == nil {
			continue
		}
		isEmpty, err := f.store(m, val, v)
		if err != nil {
			return err
		}
		if isEmpty {
			empty = append(empty, f.fd.Number())
		}
	}
	if empty != nil {
		setEmpty(m, empty)
	}
	return nil
}

// store writes one value and tells whether it is an empty list or map.
func (f *Field) store(m protoreflect.Message, val any, v *variant) (bool, error) {
	switch f.Type {
	case Array, Set:
		list := val.([]any)
		if len(list) == 0 {
			return true, nil
		}
		return false, f.Elements.storeList(m.Mutable(f.fd).List(), list)
	case Map:
		members := val.(Body)
		if len(members) == 0 {
			return true, nil
		}
		return false, f.Values.storeMap(m.Mutable(f.fd).Map(), members)
	case Record:
		if f.fd.Message().FullName() == anyName {
			return false, f.storeConfig(m, val.(Body), v)
		}
		return false, f.record.store(m.Mutable(f.fd).Message(), val.(Body), nil)
	case Foreign:
		id, _ := val.(Body)["id"].(string)
		m.Set(f.fd, protoreflect.ValueOfString(id))
		return false, nil
	}
	m.Set(f.fd, f.protoValue(val))
	return false, nil
}

func (f *Field) protoValue(val any) protoreflect.Value {
	if f.Type == Integer {
		return protoreflect.ValueOfInt64(int64(val.(float64)))
	}
	return protoreflect.ValueOf(val)
}

func (f *Field) storeList(l protoreflect.List, list []any) error {
	for _, e := range list {
		if f.Type != Record {
			l.Append(f.protoValue(e))
			continue
		}
		if err := f.record.store(l.AppendMutable().Message(), e.(Body), nil); err != nil {
			return err
		}
	}
	return nil
}

func (f *Field) storeMap(m protoreflect.Map, members Body) error {
	for k, e := range members {
		key := protoreflect.ValueOfString(k).MapKey()
		switch f.Type {
		case Record:
			if err := f.record.store(m.Mutable(key).Message(), e.(Body), nil); err != nil {
				return err
			}
		case Array, Set:
			inner := m.Mutable(key).Message()
			list := inner.Mutable(inner.Descriptor().Fields().ByNumber(1)).List()
			if err := f.Elements.storeList(list, e.([]any)); err != nil {
				return err
			}
		default:
			m.Set(key, f.protoValue(e))
		}
	}
	return nil
}

// storeConfig packs the config of a plugin, typed.
func (f *Field) storeConfig(m protoreflect.Message, b Body, v *variant) error {
	config := v.plugin.message.New()
	if err := f.record.store(config, b, nil); err != nil {
		return err
	}
	packed := &anypb.Any{}
	if err := anypb.MarshalFrom(packed, config.Interface(), deterministic); err != nil {
		return fmt.Errorf("encode config of %s: %w", v.name, err)
	}
	m.Set(f.fd, protoreflect.ValueOfMessage(packed.ProtoReflect()))
	return nil
}

// load reads a message into a body. Absent fields are left out.
func (r *record) load(m protoreflect.Message, v *variant) Body {
	b := make(Body, len(r.fields))
	unknown := len(m.GetUnknown()) > 0
	for _, f := range r.fields {
		if f.fd == nil || f.Internal {
			continue
		}
		if m.Has(f.fd) {
			b[f.Name] = f.load(m.Get(f.fd), v)
			continue
		}
		if unknown && isSaidEmpty(m, f.fd.Number()) {
			if f.Type == Map {
				b[f.Name] = Body{}
			} else {
				b[f.Name] = []any{}
			}
		}
	}
	return b
}

func (f *Field) load(val protoreflect.Value, v *variant) any {
	switch f.Type {
	case Array, Set:
		return f.Elements.loadList(val.List())
	case Map:
		return f.Values.loadMap(val.Map())
	case Foreign:
		return Body{"id": val.String()}
	case Record:
		if f.fd.Message().FullName() == anyName {
			return f.loadConfig(val.Message(), v)
		}
		return f.record.load(val.Message(), nil)
	}
	return f.bodyValue(val)
}

func (f *Field) bodyValue(val protoreflect.Value) any {
	if f.Type == Integer {
		return float64(val.Int())
	}
	return val.Interface()
}

func (f *Field) loadList(l protoreflect.List) []any {
	out := make([]any, l.Len())
	for i := range out {
		if f.Type == Record {
			out[i] = f.record.load(l.Get(i).Message(), nil)
		} else {
			out[i] = f.bodyValue(l.Get(i))
		}
	}
	return out
}

func (f *Field) loadMap(m protoreflect.Map) Body {
	out := make(Body, m.Len())
	m.Range(func(k protoreflect.MapKey, val protoreflect.Value) bool {
		switch f.Type {
		case Record:
			out[k.String()] = f.record.load(val.Message(), nil)
		case Array, Set:
			inner := val.Message()
			out[k.String()] = f.Elements.loadList(inner.Get(inner.Descriptor().Fields().ByNumber(1)).List())
		default:
			out[k.String()] = f.bodyValue(val)
		}
		return true
	})
	return out
}

// loadConfig unpacks a config. One that this build does not know reads as null: it cannot be
// shown, and must not take anything down.
func (f *Field) loadConfig(m protoreflect.Message, v *variant) any {
	packed, ok := m.Interface().(*anypb.Any)
	if !ok || v == nil || v.plugin == nil || f.record == nil {
		return nil
	}
	config := v.plugin.message.New()
	if packed.MessageName() != config.Descriptor().FullName() {
		return nil
	}
	if err := proto.Unmarshal(packed.Value, config.Interface()); err != nil {
		return nil
	}
	return f.record.load(config, nil)
}
