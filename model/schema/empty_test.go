package schema

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func TestEmptySurvivesTheWire(t *testing.T) {
	t.Parallel()
	m := &entityv1.Route{Name: proto.String("r")}
	setEmpty(m.ProtoReflect(), []protowire.Number{11, 16})

	data, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	read := &entityv1.Route{}
	if err := proto.Unmarshal(data, read); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]proto.Message{"read": read, "clone": proto.Clone(m)} {
		for n, want := range map[protowire.Number]bool{11: true, 16: true, 12: false, 1: false} {
			if isSaidEmpty(got.ProtoReflect(), n) != want {
				t.Errorf("%s: isSaidEmpty(%d) = %v, want %v", name, n, !want, want)
			}
		}
	}
}

func TestSetEmptyKeepsFieldsOfNewerVersions(t *testing.T) {
	t.Parallel()
	newer := protowire.AppendTag(nil, 999, protowire.VarintType)
	newer = protowire.AppendVarint(newer, 7)
	m := (&entityv1.Route{}).ProtoReflect()
	m.SetUnknown(newer)

	setEmpty(m, []protowire.Number{11})
	if !isSaidEmpty(m, 11) {
		t.Error("11 is not said to be empty")
	}
	setEmpty(m, []protowire.Number{300})
	if isSaidEmpty(m, 11) || !isSaidEmpty(m, 300) {
		t.Error("the second setEmpty did not replace the first")
	}
	setEmpty(m, nil)
	if got := string(m.GetUnknown()); got != string(newer) {
		t.Errorf("unknown = %x, want %x", got, newer)
	}
}

func TestSetEmptyOfNothingLeavesNoBytes(t *testing.T) {
	t.Parallel()
	m := (&entityv1.Route{}).ProtoReflect()
	setEmpty(m, nil)
	if data, _ := Marshal(m.Interface()); len(data) != 0 {
		t.Errorf("encoding = %x, want nothing", data)
	}
}

// FuzzEmpty reads any bytes as unknown fields.
func FuzzEmpty(f *testing.F) {
	m := (&entityv1.Route{}).ProtoReflect()
	setEmpty(m, []protowire.Number{1, 2, 300})
	f.Add([]byte(m.GetUnknown()))
	f.Add([]byte{0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &entityv1.Route{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		setEmpty(m.ProtoReflect(), []protowire.Number{5})
		if !isSaidEmpty(m.ProtoReflect(), 5) {
			t.Fatalf("5 is not said to be empty in %x", m.ProtoReflect().GetUnknown())
		}
	})
}
