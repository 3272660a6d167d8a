package document_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/document"
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

var now = time.Unix(1700000000, 0)

func tables(t *testing.T) *schema.Schema {
	t.Helper()
	s, err := model.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// present lends what is given as existing.
type present map[string][]proto.Message

func (p present) Entities(kind string) ([]proto.Message, error) { return p[kind], nil }

func whole(t *testing.T, file string) ([]document.Change, error) {
	t.Helper()
	d, err := document.Parse([]byte(file), tables(t))
	if err != nil {
		t.Fatalf("Parse(%q): %v", file, err)
	}
	return d.PlanWhole(present{}, now)
}

// TestIDsAreKongs holds generated ids to those of Kong 3.9.1 for the same names.
func TestIDsAreKongs(t *testing.T) {
	t.Parallel()
	changes, err := whole(t, `
_format_version: "3.0"
services: [{name: my-service, url: "https://example.com", routes: [{name: my-route, paths: [/]}]}]
consumers: [{username: my-user}]
`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range changes {
		got[c.Table.Kind] = c.ID
	}
	want := map[string]string{
		"services": "0855b320-0dd2-547d-891d-601e9b38647f", "routes": "481a9539-f49c-51b6-b2e2-fe99ee68866c",
		"consumers": "4b1b701d-de2b-5588-9aa2-3b97061d9f52",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ids = %v, want %v", got, want)
	}
}

// TestIDsComeAgain plans files twice, with the list turned round: what has a name keeps its id.
func TestIDsComeAgain(t *testing.T) {
	t.Parallel()
	ids := func(file string) map[string]bool {
		changes, err := whole(t, file)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{}
		for _, c := range changes {
			all[c.Table.Kind+" "+c.ID] = true
		}
		return all
	}
	a := ids(`{"_format_version":"3.0","upstreams":[{"name":"a","targets":[{"target":"x:1"},{"target":"y:1"}]}],"consumers":[{"username":"u","acls":[{"group":"g"},{"group":"h"}]}]}`)
	b := ids(`{"_format_version":"3.0","upstreams":[{"name":"a","targets":[{"target":"y:1"},{"target":"x:1"}]}],"consumers":[{"username":"u","acls":[{"group":"h"},{"group":"g"}]}]}`)
	if !reflect.DeepEqual(a, b) || len(a) != 6 {
		t.Errorf("ids = %v, then %v", a, b)
	}
}

func TestRefusalsMirrorTheFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, fields, message string }{
		{"no version", `{}`, `{"_format_version":"required field missing"}`, `{_format_version="required field missing"}`},
		{
			"unknown version", `{"_format_version":"4.0"}`, `{"_format_version":"expected one of: 1.1, 2.1, 3.0"}`,
			`{_format_version="expected one of: 1.1, 2.1, 3.0"}`,
		},
		{
			"unknown kind and no list", `{"_format_version":"3.0","wrong":[],"routes":{}}`,
			`{"routes":"expected an array","wrong":"unknown field"}`, `{routes="expected an array",wrong="unknown field"}`,
		},
		{
			"below and beside", `{"_format_version":"3.0","services":[{"name":"a","host":"h"},{"port":-12,"routes":[{"paths":["/"]},{"paths":["x"]}]}]}`,
			`{"services":[null,{"host":"required field missing","port":"value should be between 0 and 65535","routes":[null,{"paths":["should start with: / (fixed path) or ~/ (regex path)"]}]}]}`, "",
		},
		{"no record", `{"_format_version":"3.0","services":[3]}`, `{"services":["expected a record"]}`, `{services={"expected a record"}}`},
		{
			"one id twice", `{"_format_version":"3.0","services":[{"id":"0855b320-0dd2-547d-891d-601e9b38647f","name":"a","host":"h"},{"id":"0855b320-0dd2-547d-891d-601e9b38647f","name":"b","host":"h"}]}`,
			`{"services":[null,"uniqueness violation: 'services' entity with primary key set to '0855b320-0dd2-547d-891d-601e9b38647f' already declared"]}`, "",
		},
		{
			"one name twice", `{"_format_version":"3.0","services":[{"name":"a","host":"h"},{"name":"a","host":"h"}]}`,
			`{"services":[null,"uniqueness violation: 'services' entity with name set to 'a' already declared"]}`,
			`{services={[2]="uniqueness violation: 'services' entity with name set to 'a' already declared"}}`,
		},
		{
			"one value twice", `{"_format_version":"3.0","consumers":[{"username":"foo","custom_id":"c"},{"username":"bar","custom_id":"c"}]}`,
			`{"consumers":{"bar":"uniqueness violation: 'consumers' entity with custom_id set to 'c' already declared"}}`, "",
		},
		{
			"reference by name", `{"_format_version":"3.0","routes":[{"name":"r","paths":["/"],"service":"nope"}]}`,
			`{"routes":{"r":["invalid reference 'service: nope' (no such entry in 'services')"]}}`, "",
		},
		{
			"reference by id", `{"_format_version":"3.0","routes":[{"name":"r","paths":["/"],"service":{"id":"769bdf51-16df-5476-9830-ef26800b5448"}}]}`,
			`{"routes":{"r":["invalid reference 'service: {\"id\":\"769bdf51-16df-5476-9830-ef26800b5448\"}' (no such entry in 'services')"]}}`, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := whole(t, c.file)
			var refused *document.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("PlanWhole: %v, want a refusal", err)
			}
			f := refused.Fault()
			if got := text(t, f.Fields); got != c.fields {
				t.Errorf("fields = %s\nwant     %s", got, c.fields)
			}
			if want := "declarative config is invalid: " + c.message; c.message != "" && f.Message != want {
				t.Errorf("message = %s\nwant      %s", f.Message, want)
			}
		})
	}
}

// text is v as JSON, as it is written for a client.
func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestFlatten(t *testing.T) {
	t.Parallel()
	_, err := whole(t, `{"_format_version":"3.0","foo":1,"services":[
		{"name":"s","id":"0855b320-0dd2-547d-891d-601e9b38647f","tags":["a"],"host":"h","routes":[{"name":"r","paths":["/","x"]}]},
		{"name":"t","protocol":"tcp","path":"/x","host":"h"}]}`)
	var refused *document.Refused
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	f, flat := refused.Flatten()
	if got, want := text(t, f.Fields), `{"foo":"unknown field"}`; got != want {
		t.Errorf("fields = %s, want %s", got, want)
	}
	want := `[{"entity_type":"service","entity_name":"t","entity":{"host":"h","name":"t","path":"/x","protocol":"tcp"},"errors":[` +
		`{"type":"field","field":"path","message":"value must be null"},{"type":"entity","message":"failed conditional validation given value of field 'protocol'"}]},` +
		`{"entity_type":"route","entity_name":"r","entity":{"name":"r","paths":["/","x"],"service":{"id":"0855b320-0dd2-547d-891d-601e9b38647f"}},` +
		`"errors":[{"type":"field","field":"paths.2","message":"should start with: / (fixed path) or ~/ (regex path)"}]}]`
	if got := text(t, flat); got != want {
		t.Errorf("flattened = %s\nwant        %s", got, want)
	}
}

// TestPlanUsesWhatExists finds the entity that holds the name, and lets a file refer to it.
func TestPlanUsesWhatExists(t *testing.T) {
	t.Parallel()
	have := present{"services": {&entityv1.Service{
		Id: proto.String("11111111-1111-4111-8111-111111111111"), Name: proto.String("api"), Host: proto.String("h"),
	}}}
	file := `{"_format_version":"3.0","routes":[{"name":"r","paths":["/"],"service":{"name":"api"}}]}`
	d, err := document.Parse([]byte(file), tables(t))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := d.Plan(have, now)
	if err != nil || len(changes) != 1 || changes[0].After.(*entityv1.Route).GetService() != "11111111-1111-4111-8111-111111111111" {
		t.Errorf("Plan = %v, %v", changes, err)
	}
	if d, err = document.Parse([]byte(file), tables(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.PlanWhole(have, now); err == nil || !strings.Contains(err.Error(), "invalid reference") {
		t.Errorf("PlanWhole refers to what will be gone: %v", err)
	}
}

// TestStoredPasswords tells passwords that are as Kong stores them from those to be hashed.
func TestStoredPasswords(t *testing.T) {
	t.Parallel()
	const hash = "57fc7fc3f5bc5c86c8935d267ca72823ce046872"
	for transform, kept := range map[string]bool{"true": false, "false": true} {
		changes, err := whole(t, `{"_format_version":"3.0","_transform":`+transform+`,"consumers":[{"username":"u","basicauth_credentials":[{"username":"n","password":"`+hash+`"}]}]}`)
		if err != nil {
			t.Fatal(err)
		}
		m := changes[len(changes)-1].After.(*entityv1.BasicauthCredential)
		if (m.GetPassword() == hash) != kept || (m.GetPasswordHash() == "") != kept {
			t.Errorf("_transform %s: %v", transform, m)
		}
	}
}

// TestUnknownSharedConfig is about decK's _plugin_configs.
func TestUnknownSharedConfig(t *testing.T) {
	t.Parallel()
	_, err := whole(t, `{"_format_version":"3.0","_plugin_configs":{"a":{}},"plugins":[{"name":"x","_config":"b"}]}`)
	if err == nil || !strings.Contains(err.Error(), `there is no "b" in _plugin_configs`) {
		t.Errorf("PlanWhole: %v", err)
	}
}
