package model_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/model/fault"
)

// TestSpecs holds violations against those that Kong 3.9.1's own specs ask for.
func TestSpecs(t *testing.T) {
	t.Parallel()
	const protocols = "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp"
	for _, c := range []struct{ name, kind, body, fields string }{
		{"a condition says more than the field that it is about", "upstreams",
			`{"name":"my.upstream","hash_on":"consumer","hash_fallback":"something that is invalid"}`,
			`{"@entity":["failed conditional validation given value of field 'hash_on'"],` +
				`"hash_fallback":"expected one of: none, ip, header, cookie, path, query_arg, uri_capture"}`},
		{"a cookie's name is a token", "upstreams", `{"name":"my.upstream","hash_on":"cookie","hash_on_cookie":"not a <> cookie"}`,
			`{"hash_on_cookie":"contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the ` +
				`characters ()\u003c\u003e@,;:\\\"/?={}[] are not allowed."}`},
		{"what else is wrong with a reference without id", "routes", `{"methods":["GET"],"service":{"protocol":"foo"}}`,
			`{"service":{"protocol":"` + protocols + `"}}`},
		{"an unknown member of a reference", "routes", `{"methods":["GET"],"service":{"nope":1}}`, `{"service":{"nope":"unknown field"}}`},
		{"a reference without id that is right otherwise", "routes", `{"methods":["GET"],"service":{"protocol":"http"}}`,
			`{"service":{"id":"missing primary key"}}`},
		{"an id that is none, among others", "routes", `{"methods":["GET"],"service":{"id":"x","host":1}}`,
			`{"service":{"host":"expected a string","id":"expected a valid UUID"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := all.Table(c.kind).Insert(decode(t, []byte(c.body)), insertTime)
			var f *fault.Error
			if !errors.As(err, &f) || jsonText(f.Fields) != c.fields {
				t.Errorf("Insert = %v\n%s\nwant %s", err, jsonText(f.Fields), c.fields)
			}
		})
	}
}

// TestLifeIsCountedInWholeSeconds shows what is left, as Kong's database counts it: a moment
// after the write there is less than was asked for.
func TestLifeIsCountedInWholeSeconds(t *testing.T) {
	t.Parallel()
	table := all.Table("keyauth_credentials")
	m := insert(t, table.Kind, `{"key":"k","ttl":10,"consumer":{"id":"`+someID+`"}}`)
	for after, want := range map[time.Duration]float64{time.Millisecond: 9, time.Second: 9, 9500 * time.Millisecond: 0, time.Minute: 0} {
		if got := table.Render(m, insertTime.Truncate(time.Second).Add(after))["ttl"]; got != want {
			t.Errorf("ttl after %v = %v, want %v", after, got, want)
		}
	}
}
