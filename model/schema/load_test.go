package schema

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/sekifuda/sekifuda/model/fault"
	_ "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1" // its extensions
)

var now = time.Unix(1700000000, 0)

// describeFile makes descriptors of a text, so that tests can say what no entity says.
func describeFile(t testing.TB, text string) protoreflect.FileDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal([]byte(text), file); err != nil {
		t.Fatal(err)
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	options  = `[sekifuda.options.v1.`
	thing    = `message_type { name: "Thing" options { ` + options + `entity] { kind: "things" path: "things" endpoint_key: "name" } } `
	idField  = `field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL options { ` + options + `field] { auto: true rule { uuid: true } } } } `
	aName    = `field { name: "name" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL options { ` + options + `field] { unique: true } } } `
	fileHead = `name: "thing.proto" package: "test" syntax: "proto2" dependency: "sekifuda/options/v1/options.proto" `
)

// things is a table with what Kong has and our entities do not: settings of ours, records in
// maps, exclusive choices.
func things(t testing.TB) *Table {
	t.Helper()
	d := describeFile(t, fileHead+`message_type { name: "Thing" options {
			`+options+`entity] { kind: "things" path: "things" endpoint_key: "name" }
			`+options+`record] { checks { only_one_of { fields: "allow" fields: "deny" } } } }
		`+idField+aName+
		`field { name: "near_limit" number: 3 type: TYPE_DOUBLE label: LABEL_OPTIONAL options { `+options+`field] { ours: true default: "0.9" rule { between { min: 0 max: 1 } } } } }
		field { name: "secret" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL options { `+options+`field] { internal: true } } }
		field { name: "limits" number: 5 type: TYPE_MESSAGE type_name: ".test.Thing.LimitsEntry" label: LABEL_REPEATED }
		field { name: "lately" number: 6 type: TYPE_INT64 label: LABEL_OPTIONAL options { `+options+`field] { required: true default: "7" } } }
		field { name: "inner" number: 7 type: TYPE_MESSAGE type_name: ".test.Limit" label: LABEL_OPTIONAL options { `+options+`field] { required: true } } }
		field { name: "allow" number: 8 type: TYPE_STRING label: LABEL_REPEATED options { `+options+`field] { rule { len_max: 2 contains: "a" } } } }
		field { name: "deny" number: 9 type: TYPE_STRING label: LABEL_REPEATED options { `+options+`field] { rule { len_min: 1 } } } }
		nested_type { name: "LimitsEntry" options { map_entry: true }
			field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
			field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".test.Limit" label: LABEL_OPTIONAL } }
	}
	message_type { name: "Limit" options { `+options+`record] { checks { at_least_one_of { fields: "minute" fields: "hour" } } } }
		field { name: "minute" number: 1 type: TYPE_DOUBLE label: LABEL_OPTIONAL options { `+options+`field] { default: "5" } } }
		field { name: "hour" number: 2 type: TYPE_DOUBLE label: LABEL_OPTIONAL options { `+options+`field] { rule { gt: 0 ne: "3" } } } }
	}`)
	table, err := LoadTable(d.Messages().ByName("Thing"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New([]*Table{table}, nil, nil); err != nil {
		t.Fatal(err)
	}
	return table
}

func toBody(t testing.TB, text string) Body {
	t.Helper()
	var b Body
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOursIsTakenAndHidden(t *testing.T) {
	t.Parallel()
	table := things(t)
	m, err := table.Insert(toBody(t, `{"allow":["a"],"near_limit":0.5}`), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, shown := table.Render(m, now)["near_limit"]; shown {
		t.Error("Render shows a setting of ours")
	}
	if got := table.RenderOurs(m, now)["near_limit"]; got != 0.5 {
		t.Errorf("RenderOurs shows %v, want 0.5", got)
	}
	for _, b := range []Body{table.Render(m, now), table.RenderOurs(m, now)} {
		if _, shown := b["secret"]; shown {
			t.Error("an internal field is shown")
		}
	}
	text, _ := json.Marshal(table.JSON())
	if strings.Contains(string(text), "near_limit") || strings.Contains(string(text), "secret") {
		t.Errorf("JSON = %s speaks of what is not Kong's", text)
	}
	// A setting of ours survives a PATCH that does not know it.
	if m, err = table.Update(m, Body{"lately": 8.0}, now); err != nil {
		t.Fatal(err)
	}
	if got := table.RenderOurs(m, now)["near_limit"]; got != 0.5 {
		t.Errorf("after a PATCH it is %v, want 0.5", got)
	}
}

func TestAnEntityOlderThanAField(t *testing.T) {
	t.Parallel()
	table := things(t)
	old := table.New()
	got := table.Render(old, now)
	if got["lately"] != 7.0 || !reflect.DeepEqual(got["inner"], Body{"minute": 5.0, "hour": nil}) {
		t.Errorf("Render of an empty entity = %v, want the defaults of required fields", got)
	}
	if _, err := table.Update(old, toBody(t, `{"allow":["a"]}`), now); err != nil {
		t.Errorf("Update of an empty entity: %v", err)
	}
}

func TestRecordsInMaps(t *testing.T) {
	t.Parallel()
	table := things(t)
	m, err := table.Insert(toBody(t, `{"deny":["x"],"limits":{"v":{"hour":2},"w":{}}}`), now)
	if err != nil {
		t.Fatal(err)
	}
	want := Body{"v": Body{"minute": 5.0, "hour": 2.0}, "w": Body{"minute": 5.0, "hour": nil}}
	if got := table.Render(m, now)["limits"]; !reflect.DeepEqual(got, want) {
		t.Errorf("limits = %v, want %v", got, want)
	}
	for _, c := range []struct{ body, want string }{
		{`{"deny":["x"],"limits":{"v":{"minute":null}}}`,
			"schema violation (limits.@entity: {\n  \"at least one of these fields must be non-empty: 'minute', 'hour'\"\n})"},
		{`{"deny":["x"],"limits":{"v":{"hour":3}}}`, "schema violation (limits.hour: value must not be 3)"},
		{`{"deny":["x"],"limits":{"v":{"hour":0}}}`, "schema violation (limits.hour: value must be greater than 0)"},
		{`{"deny":["x"],"limits":{"v":null}}`, "schema violation (limits: required field missing)"},
		{`{"deny":["x"],"limits":[1]}`, "schema violation (limits: expected a map)"},
		{`{}`, "schema violation (exactly one of these fields must be non-empty: 'allow', 'deny')"},
		{`{"allow":["a","b","c"]}`, "schema violation (allow: length must be at most 2)"},
		{`{"allow":["b"]}`, "schema violation (allow: expected to contain: a)"},
		{`{"deny":[]}`, "2 schema violations (exactly one of these fields must be non-empty: 'allow', 'deny'; deny: length must be at least 1)"},
		{`{"deny":["x"],"near_limit":2}`, "schema violation (near_limit: value should be between 0 and 1)"},
		{`{"deny":["x"],"secret":"s"}`, "schema violation (secret: unknown field)"},
	} {
		_, err := table.Insert(toBody(t, c.body), now)
		if !fault.Is(err, fault.SchemaViolation) || err.Error() != c.want {
			t.Errorf("Insert(%s)\n got %v\nwant %s", c.body, err, c.want)
		}
	}
}

func TestClientsOfGoMaySendIntegers(t *testing.T) {
	t.Parallel()
	table := things(t)
	m, err := table.Insert(Body{"lately": 3, "deny": []string{"x"}, "near_limit": json.Number("0.25"), "inner": Body{"hour": int64(2)}}, now)
	if err != nil {
		t.Fatal(err)
	}
	got := table.RenderOurs(m, now)
	if got["lately"] != 3.0 || got["near_limit"] != 0.25 || got["inner"].(Body)["hour"] != 2.0 {
		t.Errorf("RenderOurs = %v", got)
	}
	if _, err := table.Insert(Body{"deny": []string{"x"}, "lately": json.Number("1e999")}, now); err == nil {
		t.Error("a number beyond float64 was taken")
	}
}

// TestLoadRefuses names what would be a bug of the build.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	field := func(opts string) string {
		return thing + idField + aName + `field { name: "f" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL options { ` +
			options + `field] { ` + opts + ` } } } }`
	}
	for _, c := range []struct{ name, messages, want string }{
		{"no option", `message_type { name: "Thing" }`, "no entity option"},
		{"pattern", field(`rule { match: "(" }`), "captures are not supported"},
		{"check", field(`rule { check: "nope" }`), `unknown check "nope"`},
		{"abstract", field(`abstract: true`), "abstract record must be"},
		{"endpoint key", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" endpoint_key: "x" } } }`, `unknown field "x"`},
		{"unique", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" unique { fields: "x" } } } }`, `unknown field "x"`},
		{"variant", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" variant_field: "x" } } }`, `unknown field "x"`},
		{"checked field", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" } ` + options + `record] { checks { distinct { fields: "x" } } } } }`, `unknown field "x"`},
		{"custom check", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" } ` + options + `record] { checks { custom { name: "x" } } } } }`, `unknown check "x"`},
		{"record check", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" } ` + options + `record] { check: "x" } } }`, `unknown check "x"`},
		{"shorthand", `message_type { name: "Thing" options { ` + options + `entity] { kind: "t" } ` + options + `record] { shorthands { name: "s" type: "string" } } } }`, "neither a path nor an expansion"},
		{"default", thing + `field { name: "name" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL options { ` + options + `field] { default: "x" } } } }`, "read default"},
		{"type", thing + `field { name: "name" number: 2 type: TYPE_FLOAT label: LABEL_OPTIONAL } }`, "no type for float"},
		{"itself", thing + idField + aName + `field { name: "t" number: 3 type: TYPE_MESSAGE type_name: ".test.Thing" label: LABEL_OPTIONAL } }`, "nested deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := describeFile(t, fileHead+c.messages)
			_, err := LoadTable(d.Messages().ByName("Thing"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("LoadTable = %v, want %q", err, c.want)
			}
		})
	}
	d := describeFile(t, fileHead+thing+idField+aName+`}`)
	if _, err := LoadPlugin(d.Messages().ByName("Thing")); err == nil {
		t.Error("LoadPlugin took an entity")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	table := things(t)
	if _, err := New([]*Table{table, table}, nil, nil); err == nil {
		t.Error("New took a kind twice")
	}
	if _, err := New(nil, []*Plugin{{Name: "a"}, {Name: "a"}}, nil); err == nil {
		t.Error("New took a plugin twice")
	}
	d := describeFile(t, fileHead+thing+idField+aName+`field { name: "f" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL options { `+
		options+`field] { refers_to: "nothings" } } } }`)
	lost, err := LoadTable(d.Messages().ByName("Thing"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New([]*Table{lost}, nil, nil); err == nil {
		t.Error("New took a reference to nothing")
	}
}

func TestStoredThingsAreStable(t *testing.T) {
	t.Parallel()
	table := things(t)
	m, err := table.Insert(toBody(t, `{"id":"00000000-0000-4000-8000-000000000001","allow":["a"],"limits":{}}`), now)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	read, err := table.Unmarshal(data)
	if err != nil || !proto.Equal(read, m) {
		t.Fatalf("Unmarshal = %v, %v, want %v", read, err, m)
	}
	got := table.Render(read, now)
	if !reflect.DeepEqual(got["limits"], Body{}) || got["deny"] != nil {
		t.Errorf("empty map and absent list = %v, %v", got["limits"], got["deny"])
	}
}
