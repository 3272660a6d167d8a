package schema

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Protobuf has no presence for lists and maps, but Kong tells null from []. So a message that
// holds an empty list or map which was said carries the numbers of those fields, packed, in
// one field that no message declares. Generated types stay plain, and the numbers survive
// Marshal, Unmarshal and Clone as every unknown field does.
const emptyNumber protowire.Number = 536870111

// setEmpty says that the fields of m with these ascending numbers are empty, not null. It
// replaces what was said before.
func setEmpty(m protoreflect.Message, numbers []protowire.Number) {
	rest := dropEmpty(m.GetUnknown())
	if len(numbers) > 0 {
		var packed []byte
		for _, n := range numbers {
			packed = protowire.AppendVarint(packed, uint64(n))
		}
		rest = protowire.AppendTag(rest, emptyNumber, protowire.BytesType)
		rest = protowire.AppendBytes(rest, packed)
	}
	if len(rest) > 0 || len(m.GetUnknown()) > 0 {
		m.SetUnknown(rest)
	}
}

// isSaidEmpty tells whether m says that its field n is empty.
func isSaidEmpty(m protoreflect.Message, n protowire.Number) bool {
	found := false
	eachUnknown(m.GetUnknown(), func(num protowire.Number, typ protowire.Type, raw, value []byte) {
		if num != emptyNumber || typ != protowire.BytesType {
			return
		}
		for len(value) > 0 {
			v, size := protowire.ConsumeVarint(value)
			if size < 0 {
				return
			}
			if v == uint64(n) {
				found = true
			}
			value = value[size:]
		}
	})
	return found
}

// dropEmpty returns the unknown fields without the numbers.
func dropEmpty(b protoreflect.RawFields) protoreflect.RawFields {
	if len(b) == 0 {
		return nil
	}
	var rest protoreflect.RawFields
	eachUnknown(b, func(num protowire.Number, _ protowire.Type, raw, _ []byte) {
		if num != emptyNumber {
			rest = append(rest, raw...)
		}
	})
	return rest
}

// eachUnknown visits the fields of b up to the first that is malformed. value is the content
// of a length-delimited one.
func eachUnknown(b []byte, visit func(num protowire.Number, typ protowire.Type, raw, value []byte)) {
	for len(b) > 0 {
		num, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(num, typ, b[tag:])
		if size < 0 {
			return
		}
		var value []byte
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b[tag:])
		}
		visit(num, typ, b[:tag+size], value)
		b = b[tag+size:]
	}
}
