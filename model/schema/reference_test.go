package schema

import (
	"testing"

	"google.golang.org/protobuf/proto"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func TestReference(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Reference{
		"{vault://env/a-b}":          {"env", "a-b", ""},
		"{vault://env/a/k}":          {"env", "a", "k"},
		"{vault://my-v/a/k#1?ttl=5}": {"my-v", "a", "k"},
		"{vault://}":                 {},
	} {
		if got := ParseReference(s); !IsReference(s) || got != want {
			t.Errorf("ParseReference(%q) = %+v, want %+v", s, got, want)
		}
	}
	for _, c := range []struct{ key, kept, want string }{
		{"", "x", "x"}, {"k", `{"k":"v"}`, "v"}, {"n", `{"n":5}`, "5"}, {"z", `{"n":5}`, ""}, {"k", "x", ""}, {"k", "", ""},
	} {
		if got := (Reference{Key: c.key}).Of(c.kept); got != c.want {
			t.Errorf("%q of %q = %q, want %q", c.key, c.kept, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	find := func(r Reference) (string, bool) { return "found " + r.Name, r.Vault == "env" }
	c := &entityv1.Certificate{
		Cert: proto.String("{vault://env/cert}"), Key: proto.String("{vault://other/key}"), CertAlt: proto.String("plain"),
		Tags: []string{"{vault://env/tag}"},
	}
	Resolve(c, find)
	if c.GetCert() != "found cert" || c.GetKey() != "{vault://other/key}" || c.GetCertAlt() != "plain" || c.Tags[0] != "{vault://env/tag}" {
		t.Errorf("resolved = %v", c)
	}
}
