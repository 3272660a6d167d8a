package model_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// FuzzInsert sends any JSON to every table: it must yield an entity that is stable under
// storing and rendering, or a fault with words.
func FuzzInsert(f *testing.F) {
	file := readVectors[struct{ Vectors []vector }](f, "validation.json")
	for _, v := range file.Vectors {
		if v.ContentType == "json" {
			f.Add([]byte(v.Input))
		}
		if v.Status == 201 {
			f.Add([]byte(jsonText(v.Body)))
		}
	}
	f.Add([]byte(`{"@entity":1,"tags":[null,[],{}],"config":{"redis":7},"headers":{"":[{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var body schema.Body
		if json.Unmarshal(data, &body) != nil || body == nil {
			return
		}
		before := jsonText(body)
		for _, table := range all.Tables() {
			m, err := table.Insert(body, insertTime)
			if jsonText(body) != before {
				t.Fatalf("%s: Insert changed its body to %s", table.Kind, jsonText(body))
			}
			if err != nil {
				checkFault(t, table, err)
				continue
			}
			checkStable(t, table, m)
			patchWith(t, table, m, body)
		}
	})
}

func checkFault(t *testing.T, table *schema.Table, err error) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Message == "" || len(f.Fields) == 0 {
		t.Fatalf("%s: %v is no fault with fields", table.Kind, err)
	}
	if _, err := json.Marshal(f.Fields); err != nil {
		t.Fatalf("%s: fields of the fault: %v", table.Kind, err)
	}
}

// checkStable inserts what is rendered: the same must come out again.
func checkStable(t *testing.T, table *schema.Table, m proto.Message) {
	t.Helper()
	shown := table.Render(stored(t, table, m), insertTime)
	again, err := table.Insert(shown, insertTime)
	if err != nil {
		t.Fatalf("%s: Insert(Render) = %v of %s", table.Kind, err, jsonText(shown))
	}
	got := table.Render(again, insertTime)
	if table.Kind == "basicauth_credentials" {
		got["password"] = shown["password"] // a password that is sent is hashed
	}
	if !reflect.DeepEqual(got, shown) {
		t.Fatalf("%s: rendered %s, then %s", table.Kind, jsonText(shown), jsonText(got))
	}
	typed, err := table.Complete(m, insertTime)
	if err != nil {
		t.Fatalf("%s: Complete = %v of %s", table.Kind, err, jsonText(shown))
	}
	twice, err := table.Complete(typed, insertTime)
	if err != nil {
		t.Fatalf("%s: Complete of what Complete made: %v", table.Kind, err)
	}
	if table.Kind != "basicauth_credentials" && !proto.Equal(typed, twice) {
		t.Fatalf("%s: Complete(%v) = %v", table.Kind, typed, twice)
	}
}

// patchWith sends the body that made an entity as its PATCH: nothing but times may change.
func patchWith(t *testing.T, table *schema.Table, m proto.Message, body schema.Body) {
	t.Helper()
	next, err := table.Update(m, body, insertTime)
	if err != nil {
		checkFault(t, table, err)
		return
	}
	if table.ID(next) != table.ID(m) {
		t.Fatalf("%s: a PATCH changed the id %s to %s", table.Kind, table.ID(m), table.ID(next))
	}
	stored(t, table, next)
}

// FuzzForm reads any form for every table, and inserts what it says.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		"name=a&host=b&tags[]=x&tags[2]=y", "a[1].ip=1&a[b][c]=2&a=3", ".a=1&b.=2&=3&[=4&]=5",
		"config.redis.host=h&name=rate-limiting", "headers[x][]=1&headers[x][1]=2", "a[0]=1&a[-1]=2&a[99999]=3",
		"paths=/&service.id=&snis=", "hosts[1][2][3]=x", "ttl=1e400&port=0x&retries=-0x1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(schema.FormUntyped(values)); err != nil {
			t.Fatalf("FormUntyped(%q): %v", text, err)
		}
		for _, table := range all.Tables() {
			body := table.Form(values)
			if m, err := table.Insert(body, insertTime); err != nil {
				checkFault(t, table, err)
			} else {
				checkStable(t, table, m)
			}
		}
	})
}
