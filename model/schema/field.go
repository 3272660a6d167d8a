package schema

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

// anyName is the message of a config whose type the entity's name chooses.
const anyName = "google.protobuf.Any"

// listName is a list where protobuf allows none: as the value of a map.
const listName = "sekifuda.entity.v1.Strings"

// field reads one field of a message with its options.
func (l *loader) field(fd protoreflect.FieldDescriptor) (*Field, error) {
	o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	if o == nil {
		o = &optionsv1.Field{}
	}
	f := &Field{
		Name: o.Name, Required: o.Required, Auto: o.Auto, Unique: o.Unique || o.UniqueAcrossWs,
		Refers: o.RefersTo, Cascade: o.OnDelete == optionsv1.OnDelete_ON_DELETE_CASCADE,
		Internal: o.Internal, Ours: o.Ours, Transient: o.Transient, Abstract: o.Abstract, fd: fd,
	}
	if f.Name == "" {
		f.Name = string(fd.Name())
	}
	f.said = said{
		optional: o.Optional, defaultNull: o.DefaultNull, notUnique: o.NotUnique,
		acrossWS: o.UniqueAcrossWs, onDelete: onDelete(o.OnDelete),
		encrypted: o.Rule.GetEncrypted(), sensitive: o.Sensitive, refable: o.Rule.GetReferenceable(),
		deprecation: loadDeprecation(o.Deprecation),
	}
	if err := l.shape(f, o); err != nil {
		return nil, err
	}
	var err error
	if f.rule, err = l.rule(f.Type, o.Rule); err != nil {
		return nil, err
	}
	if o.Default != nil {
		if f.Default, err = parseDefault(f.Type, *o.Default); err != nil {
			return nil, err
		}
		f.HasDefault = true
	}
	if o.RandomDefault {
		f.Default, f.HasDefault = randomDefault(), true
	}
	return f, nil
}

// randomDefault is one text for the whole process, as long as Kong's: 190 bits and more.
var randomDefault = sync.OnceValue(func() string { return randomKey() + randomKey()[:12] })

func onDelete(o optionsv1.OnDelete) string {
	switch o {
	case optionsv1.OnDelete_ON_DELETE_CASCADE:
		return "cascade"
	case optionsv1.OnDelete_ON_DELETE_NULL:
		return "null"
	}
	return ""
}

// shape finds the type of a field and of what it contains.
func (l *loader) shape(f *Field, o *optionsv1.Field) error {
	var err error
	switch {
	case f.fd.IsMap():
		f.Type = Map
		if f.Keys, err = l.element(String, o.Keys); err != nil {
			return err
		}
		f.Values, err = l.member(f.fd.MapValue(), o.Values)
		return err
	case f.fd.IsList():
		f.Type = Array
		if o.Set {
			f.Type = Set
		}
		f.Elements, err = l.member(f.fd, o.Elements)
		return err
	case f.Refers != "":
		f.Type = Foreign
		return nil
	case f.Abstract:
		f.Type = Record
		if name := f.fd.Message(); name == nil || name.FullName() != anyName {
			return fmt.Errorf("an abstract record must be a %s", anyName)
		}
		return nil
	}
	if f.Type, err = scalar(f.fd); err != nil || f.Type != Record {
		return err
	}
	if f.record, err = l.record(f.fd.Message()); err != nil {
		return err
	}
	f.Fields = f.record.fields
	return nil
}

// member reads what a list or a map holds.
func (l *loader) member(fd protoreflect.FieldDescriptor, o *optionsv1.Rule) (*Field, error) {
	t, err := scalar(fd)
	if err != nil {
		return nil, err
	}
	if t != Record {
		return l.element(t, o)
	}
	if fd.Message().FullName() == listName {
		return l.element(Array, o)
	}
	f, err := l.element(Record, o)
	if err != nil {
		return nil, err
	}
	if f.record, err = l.record(fd.Message()); err != nil {
		return nil, err
	}
	f.Fields, f.record.element = f.record.fields, true
	return f, nil
}

// element makes a field without a name, for what a list or a map holds and for conditions.
func (l *loader) element(t Type, o *optionsv1.Rule) (*Field, error) {
	f := &Field{Type: t, Required: o.GetRequired()}
	f.said = said{optional: o.GetOptional(), encrypted: o.GetEncrypted(), refable: o.GetReferenceable()}
	var err error
	if t == Array || t == Set {
		if f.Elements, err = l.element(String, o.GetElements()); err != nil {
			return nil, err
		}
	}
	f.rule, err = l.rule(t, o)
	return f, err
}

func scalar(fd protoreflect.FieldDescriptor) (Type, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return String, nil
	case protoreflect.Int64Kind:
		return Integer, nil
	case protoreflect.DoubleKind:
		return Number, nil
	case protoreflect.BoolKind:
		return Boolean, nil
	case protoreflect.MessageKind:
		return Record, nil
	}
	return "", fmt.Errorf("no type for %s", fd.Kind())
}
