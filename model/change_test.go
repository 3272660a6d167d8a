package model_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin/ratelimiting"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

const (
	someID  = "00000000-0000-4000-8000-000000000009"
	otherID = "00000000-0000-4000-8000-00000000000a"
)

func insert(t testing.TB, kind, body string) proto.Message {
	t.Helper()
	m, err := all.Table(kind).Insert(decode(t, []byte(body)), insertTime)
	if err != nil {
		t.Fatalf("Insert(%s, %s): %v", kind, body, err)
	}
	return m
}

// shownAfter inserts and patches, and returns what is shown of one field.
func shownAfter(t testing.TB, kind, body, patch, field string) any {
	t.Helper()
	m, err := all.Table(kind).Update(insert(t, kind, body), decode(t, []byte(patch)), updateTime)
	if err != nil {
		t.Fatalf("Update(%s, %s): %v", kind, patch, err)
	}
	return all.Table(kind).Render(stored(t, all.Table(kind), m), updateTime)[field]
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	const limits = `{"name":"rate-limiting","config":{"minute":5,"redis":{"host":"a","port":1}}}`
	for _, c := range []struct {
		name, kind, body, patch, field, want string
	}{
		{"a list is replaced", "routes", `{"hosts":["a","b"]}`, `{"hosts":["c"]}`, "hosts", `["c"]`},
		{"an empty list is not null", "routes", `{"hosts":["a"]}`, `{"methods":[]}`, "methods", `[]`},
		{"null clears without a default", "services", `{"host":"h"}`, `{"retries":null}`, "retries", `null`},
		{"a cleared field stays so", "services", `{"host":"h","retries":null}`, `{"port":1}`, "retries", `null`},
		{"an empty list stays so", "services", `{"host":"h","tags":[]}`, `{"port":1}`, "tags", `[]`},
		{"the id stays", "services", `{"id":"` + someID + `","host":"h"}`, `{"id":"` + otherID + `"}`, "id", `"` + someID + `"`},
		{"created_at stays", "services", `{"host":"h"}`, `{}`, "created_at", `1700000000`},
		{"updated_at moves", "services", `{"host":"h"}`, `{"updated_at":5}`, "updated_at", `1700000100`},
		{"a foreign key moves", "routes", `{"hosts":["a"],"service":{"id":"` + someID + `"}}`,
			`{"service":{"id":"` + otherID + `","name":"ignored"}}`, "service", `{"id":"` + otherID + `"}`},
		{"a hash input wins over an old algorithm", "upstreams", `{"name":"u","algorithm":"latency"}`,
			`{"hash_on":"ip"}`, "algorithm", `"consistent-hashing"`},
		{"an algorithm drops the hash input", "upstreams", `{"name":"u","hash_on":"ip"}`,
			`{"algorithm":"latency"}`, "hash_on", `"none"`},
		{"an id is stored in lower case", "routes", `{"hosts":["a"]}`,
			`{"service":{"id":"ABCDEF00-0000-4000-8000-00000000000A"}}`, "service", `{"id":"abcdef00-0000-4000-8000-00000000000a"}`},
		{"a set drops duplicates", "services", `{"host":"h"}`, `{"tags":["b","a","b"]}`, "tags", `["b","a"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := jsonText(shownAfter(t, c.kind, c.body, c.patch, c.field)); got != c.want {
				t.Errorf("%s = %s, want %s", c.field, got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name, patch, path, want string
	}{
		{"records merge deeply", `{"config":{"redis":{"port":2}}}`, "redis.host", `"a"`},
		{"a merged record changes", `{"config":{"redis":{"port":2}}}`, "redis.port", `2`},
		{"an old spelling changes the new field", `{"config":{"redis_host":"b"}}`, "redis.host", `"b"`},
		{"an old spelling is echoed", `{"config":{"redis_host":"b"}}`, "redis_host", `"b"`},
		{"an empty list changes no record", `{"config":[]}`, "minute", `5`},
		{"null clears inside", `{"config":{"limit_by":null}}`, "limit_by", `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := shownAfter(t, "plugins", limits, c.patch, "config")
			for _, name := range splitPath(c.path) {
				got = got.(schema.Body)[name]
			}
			if jsonText(got) != c.want {
				t.Errorf("%s = %s, want %s", c.path, jsonText(got), c.want)
			}
		})
	}
}

func splitPath(p string) []string {
	for i := range len(p) {
		if p[i] == '.' {
			return []string{p[:i], p[i+1:]}
		}
	}
	return []string{p}
}

func TestUpdateLeavesTheOldAlone(t *testing.T) {
	t.Parallel()
	m := insert(t, "plugins", `{"name":"rate-limiting","config":{"minute":5}}`)
	before := proto.Clone(m)
	if _, err := all.Table("plugins").Update(m, schema.Body{"config": schema.Body{"hour": 9.0}}, updateTime); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m, before) {
		t.Errorf("Update changed its argument to %v", m)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	table := all.Table("keyauth_credentials")
	owner := `"consumer":{"id":"` + someID + `"}`
	m := insert(t, table.Kind, `{"key":"k","ttl":60,`+owner+`}`)
	if at := m.(*entityv1.KeyauthCredential).GetExpiresAt(); at != insertTime.Unix()+60 {
		t.Fatalf("expires_at = %d", at)
	}
	for _, c := range []struct {
		after time.Duration
		want  any
		gone  bool
	}{{0, 60.0, false}, {59 * time.Second, 1.0, false}, {60 * time.Second, 0.0, true}, {time.Hour, 0.0, true}} {
		now := insertTime.Add(c.after)
		if got := table.Render(m, now)["ttl"]; got != c.want {
			t.Errorf("ttl after %v = %v, want %v", c.after, got, c.want)
		}
		if got := table.Expired(m, now); got != c.gone {
			t.Errorf("Expired after %v = %v, want %v", c.after, got, c.gone)
		}
	}
	kept, err := table.Update(m, schema.Body{"tags": []any{"x"}}, updateTime)
	if err != nil || kept.(*entityv1.KeyauthCredential).GetExpiresAt() != insertTime.Unix()+60 {
		t.Errorf("a PATCH without ttl changed it: %v, %v", kept, err)
	}
	longer, err := table.Update(m, schema.Body{"ttl": 10.0}, updateTime)
	if err != nil || longer.(*entityv1.KeyauthCredential).GetExpiresAt() != updateTime.Unix()+10 {
		t.Errorf("a PATCH with ttl = %v, %v", longer, err)
	}
	never := insert(t, table.Kind, `{"key":"k","ttl":0,`+owner+`}`)
	if table.Expired(never, insertTime.AddDate(50, 0, 0)) || table.Render(never, insertTime)["ttl"] != nil {
		t.Error("ttl 0 is not forever")
	}
	for _, bad := range []any{-1.0, 100000001.0, 1.5, "x", []any{}} {
		_, err := table.Insert(schema.Body{"ttl": bad}, insertTime)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.InvalidOptions ||
			f.Message != "invalid option (ttl: must be an integer between 0 and 100000000)" {
			t.Errorf("ttl %v: %v", bad, err)
		}
	}
	if _, err := table.Insert(schema.Body{"expires_at": 5.0}, insertTime); !fault.Is(err, fault.SchemaViolation) {
		t.Errorf("an internal field was taken from a body: %v", err)
	}
}

func TestCompleteTakesTypedEntities(t *testing.T) {
	t.Parallel()
	config, err := anypb.New(&ratelimiting.Config{Minute: proto.Float64(5)})
	if err != nil {
		t.Fatal(err)
	}
	table := all.Table("plugins")
	m, err := table.Complete(&entityv1.Plugin{Name: proto.String("rate-limiting"), Config: config}, insertTime)
	if err != nil {
		t.Fatal(err)
	}
	full := &ratelimiting.Config{}
	if err := m.(*entityv1.Plugin).Config.UnmarshalTo(full); err != nil {
		t.Fatal(err)
	}
	if full.GetPolicy() != "local" || full.GetMinute() != 5 || full.GetRedis().GetPort() != 6379 || full.Hour != nil {
		t.Errorf("Complete gave %v", full)
	}
	if _, err := table.Complete(&entityv1.Plugin{Name: proto.String("rate-limiting")}, insertTime); !fault.Is(err, fault.SchemaViolation) {
		t.Errorf("a config without a limit: %v", err)
	}
	if _, err := table.Complete(&entityv1.Service{}, insertTime); err == nil {
		t.Error("a service was completed as a plugin")
	}
}

func TestARenderedPluginOfAnotherBuild(t *testing.T) {
	t.Parallel()
	unknown := &entityv1.Plugin{
		Id: proto.String(someID), Name: proto.String("of-tomorrow"),
		Config: &anypb.Any{TypeUrl: "type.googleapis.com/sekifuda.plugin.oftomorrow.v1.Config", Value: []byte{8, 1}},
	}
	table := all.Table("plugins")
	if got := table.Render(unknown, insertTime); got["config"] != nil || got["name"] != "of-tomorrow" {
		t.Errorf("Render = %v", got)
	}
	if _, err := table.Update(unknown, schema.Body{"enabled": false}, updateTime); !fault.Is(err, fault.SchemaViolation) {
		t.Errorf("Update = %v, want the refusal of an unknown plugin", err)
	}
}

func TestKeysAndReferences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, body string
		keys       []schema.Key
		refs       []schema.Ref
	}{
		{"services", `{"host":"h","name":"n"}`, []schema.Key{{Index: "name", Value: "n"}}, nil},
		{"services", `{"host":"h"}`, nil, nil},
		{"consumers", `{"username":"u","custom_id":"c"}`,
			[]schema.Key{{Index: "username", Value: "u"}, {Index: "custom_id", Value: "c"}}, nil},
		{"plugins", `{"name":"key-auth","service":{"id":"` + someID + `"}}`,
			[]schema.Key{{Index: "name,route,service,consumer", Value: "key-auth\x1f\x00\x1f" + someID + "\x1f\x00"}},
			[]schema.Ref{{Field: "service", Kind: "services", ID: someID}}},
		{"targets", `{"target":"a","upstream":{"id":"` + someID + `"}}`,
			[]schema.Key{{Index: "upstream,target", Value: someID + "\x1fa:8000"}},
			[]schema.Ref{{Field: "upstream", Kind: "upstreams", ID: someID}}},
	} {
		table := all.Table(c.kind)
		m := insert(t, c.kind, c.body)
		if got := table.Keys(m); !reflect.DeepEqual(got, c.keys) {
			t.Errorf("Keys(%s) = %q, want %q", c.body, got, c.keys)
		}
		if got := table.Refs(m); !reflect.DeepEqual(got, c.refs) {
			t.Errorf("Refs(%s) = %v, want %v", c.body, got, c.refs)
		}
	}
	if got := all.Table("services").EndpointKey("n"); got != (schema.Key{Index: "name", Value: "n"}) {
		t.Errorf("EndpointKey = %v", got)
	}
	if got := all.Table("targets").EndpointKey("a:1"); got != (schema.Key{}) {
		t.Errorf("EndpointKey of a target = %v, want none", got)
	}
	for _, c := range []struct {
		kind, field, value, name string
		want                     schema.Key
	}{
		{"targets", "upstream", "a:1", "target", schema.Key{Index: "upstream,target", Value: someID + "\x1fa:1"}},
		{"acls", "consumer", "g", "group", schema.Key{Index: "consumer,group", Value: someID + "\x1fg"}},
		{"keyauth_credentials", "consumer", "k", "key", schema.Key{Index: "key", Value: "k"}},
	} {
		got, name, ok := all.Table(c.kind).NestedKey(c.field, someID, c.value)
		if got != c.want || name != c.name || !ok {
			t.Errorf("NestedKey of %s = %q, %q, %v", c.kind, got, name, ok)
		}
	}
	m := insert(t, "services", `{"id":"`+someID+`","host":"h","tags":["a","b"]}`)
	if table := all.Table("services"); table.ID(m) != someID || !slices.Equal(table.Tags(m), []string{"a", "b"}) {
		t.Errorf("ID, Tags = %v, %v", table.ID(m), table.Tags(m))
	}
}

func TestForeignByName(t *testing.T) {
	t.Parallel()
	body := decode(t, []byte(`{"name":"x","service":{"name":"s"},"consumer":{"custom_id":"c"},"route":{"id":"`+someID+`","name":"r"}}`))
	got := all.Table("plugins").Foreign(body)
	want := []schema.ForeignRef{
		{Field: "service", Kind: "services", Key: "name", Value: "s"},
		{Field: "consumer", Kind: "consumers", Key: "custom_id", Value: "c"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Foreign = %v, want %v", got, want)
	}
	for _, none := range []string{`{"service":null}`, `{"service":"x"}`, `{"service":{"name":null}}`, `{"service":{"host":"h"}}`, `{}`} {
		if got := all.Table("plugins").Foreign(decode(t, []byte(none))); got != nil {
			t.Errorf("Foreign(%s) = %v, want none", none, got)
		}
	}
}
