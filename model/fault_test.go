package model_test

import (
	"testing"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// TestFaults holds the texts against those recorded from Kong 3.9.1.
func TestFaults(t *testing.T) {
	t.Parallel()
	plugins, acls := all.Table("plugins"), all.Table("acls")
	for _, c := range []struct {
		name                  string
		err                   *fault.Error
		kind, message, fields string
	}{
		{"unique field", all.Table("services").UniqueViolation(schema.Key{Index: "name", Value: "foo"}),
			"unique constraint violation", `UNIQUE violation detected on '{name="foo"}'`, `{"name":"foo"}`},
		{"unique combination with nulls",
			plugins.UniqueViolation(schema.Key{Index: "name,route,service,consumer", Value: "basic-auth\x1f\x00\x1f" + someID + "\x1f\x00"}),
			"unique constraint violation",
			`UNIQUE violation detected on '{consumer=null,name="basic-auth",route=null,service={id="` + someID + `"}}'`,
			`{"consumer":null,"name":"basic-auth","route":null,"service":{"id":"` + someID + `"}}`},
		{"unique below an owner", acls.UniqueViolation(schema.Key{Index: "consumer,group", Value: someID + "\x1fg"}),
			"unique constraint violation", `UNIQUE violation detected on '{consumer={id="` + someID + `"},group="g"}'`,
			`{"consumer":{"id":"` + someID + `"},"group":"g"}`},
		{"taken id", schema.PrimaryKeyViolation(someID), "primary key violation",
			`primary key violation on key '{id="` + someID + `"}'`, `{"id":"` + someID + `"}`},
		{"not found by id", schema.NotFound(someID), "not found",
			`could not find the entity with primary key '{id="` + someID + `"}'`, `{"id":"` + someID + `"}`},
		{"not found by name", schema.NotFoundBy("name", "none"), "not found",
			`could not find the entity with '{name="none"}'`, `{"name":"none"}`},
		{"reference to nothing", schema.ForeignMissing(schema.Ref{Field: "client_certificate", Kind: "certificates", ID: someID}),
			"foreign key violation",
			`the foreign key '{id="` + someID + `"}' does not reference an existing 'certificates' entity.`,
			`{"client_certificate":{"id":"` + someID + `"}}`},
		{"referenced", schema.ReferencedBy("routes", "services"), "foreign key violation",
			`an existing 'routes' entity references this 'services' entity`, `{"@referenced_by":"routes"}`},
		{"referenced CA", schema.CAReferenced(someID, "services", otherID), "referenced by others",
			"ca certificate " + someID + " is still referenced by services (id = " + otherID + ")", `null`},
		{"unresolved name", schema.UnresolvedForeign("service", "name", "x", "services"), "foreign keys unresolved",
			`foreign key unresolved (service.name: the foreign key cannot be resolved with '{name="x"}' for an existing 'services' entity)`,
			`{"service":{"name":"the foreign key cannot be resolved with '{name=\"x\"}' for an existing 'services' entity"}}`},
		{"bad size", schema.InvalidSize(false), "invalid size", "size must be a number", `null`},
		{"size out of range", schema.InvalidSize(true), "invalid size", "size must be an integer between 1 and 1000", `null`},
		{"bad offset", schema.InvalidOffset("x", "bad base64 encoding"), "invalid offset",
			"'x' is not a valid offset: bad base64 encoding", `null`},
		{"bad tags", schema.InvalidOption("tags", "invalid filter syntax"), "invalid options",
			"invalid option (tags: invalid filter syntax)", `{"tags":"invalid filter syntax"}`},
		{"protocols of the route", schema.CheckPluginProtocols([]string{"grpc"}, [][]string{{"http"}}, "route"), "schema violation",
			"schema violation (protocols: must match the associated route's protocols)",
			`{"protocols":"must match the associated route's protocols"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if string(c.err.Kind) != c.kind || c.err.Message != c.message || jsonText(c.err.Fields) != c.fields {
				t.Errorf("got %s\n%s\n%s\nwant %s\n%s\n%s", c.err.Kind, c.err.Message, jsonText(c.err.Fields), c.kind, c.message, c.fields)
			}
		})
	}
	if err := schema.CheckPluginProtocols([]string{"http"}, nil, "service"); err != nil {
		t.Errorf("a service without routes: %v", err)
	}
	if err := schema.CheckPluginProtocols([]string{"http"}, [][]string{{"grpc"}, {"https", "http"}}, "service"); err != nil {
		t.Errorf("a service with a fitting route: %v", err)
	}
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, value, name, want string }{
		{"upstreams", "1.2.3.4", "invalid unique name", "Invalid name ('1.2.3.4'); no ip addresses allowed"},
		{"vaults", "env", "invalid unique prefix", "must not be one of: env"},
		{"services", "a b", "invalid unique name",
			"invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"},
	} {
		err := all.Table(c.kind).CheckKey(c.value)
		if err == nil || err.Kind != fault.InvalidUnique || err.Name != c.name || err.Message != c.want {
			t.Errorf("CheckKey(%s, %q) = %+v, want %s: %s", c.kind, c.value, err, c.name, c.want)
		}
	}
	if err := all.Table("services").CheckKey("円"); err != nil {
		t.Errorf("CheckKey(円) = %v", err)
	}
	if err := all.Table("acls").CheckKey("x"); err != nil {
		t.Errorf("CheckKey of a kind without one = %v", err)
	}
}

// TestRefusals are texts of entity checks that no vector reaches.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, kind, body, want string }{
		{"two conditions of one field", "services", `{"host":"h","tls_verify":true,"tls_verify_depth":1}`,
			"4 schema violations (failed conditional validation given value of field 'protocol'; " +
				"failed conditional validation given value of field 'protocol'; " +
				"tls_verify: value must be null; tls_verify_depth: value must be null)"},
		{"distinct fields", "upstreams", `{"name":"u","hash_on":"header","hash_on_header":"a","hash_fallback":"header","hash_fallback_header":"a"}`,
			"schema violation (values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header')"},
		{"key that is none", "keys", `{"kid":"1","pem":{"public_key":"x"}}`, "schema violation (pem: could not load public key)"},
		{"empty pair of keys", "keys", `{"kid":"1","pem":{}}`,
			"schema violation (pem.@entity: {\n  \"at least one of these fields must be non-empty: 'private_key', 'public_key'\"\n})"},
		{"jwk that is no JSON", "keys", `{"kid":"1","jwk":"{bad}"}`, "schema violation (could not json decode jwk string)"},
		{"jwk of another kid", "keys", `{"kid":"1","jwk":"{\"kid\":\"2\"}"}`, "schema violation (kid in jwk.kid must be equal to keys.kid)"},
		{"jwk without a key", "keys", `{"kid":"1","jwk":"{\"kid\":\"1\",\"kty\":\"RSA\"}"}`, "schema violation (could not load JWK, likely not a valid key)"},
		{"unknown vault", "vaults", `{"name":"hcv","prefix":"my-hcv"}`, "schema violation (name: vault 'hcv' is not installed)"},
		{"config of a vault", "vaults", `{"name":"env","prefix":"my-env","config":{"prefix":"1"}}`, "schema violation (config.prefix: invalid value: 1)"},
		{"looking around", "routes", `{"paths":["~/a(?=b)"]}`,
			"schema violation (Router Expression failed validation: error parsing regexp: invalid or unsupported Perl syntax: `(?=`)"},
		{"regex of a header", "routes", `{"headers":{"x":["~*("]}}`,
			"schema violation (Router Expression failed validation: error parsing regexp: missing closing ): `(`)"},
		{"protocol of a plugin", "plugins", `{"name":"key-auth","protocols":["http","tcp"]}`,
			"schema violation (protocols.2: expected one of: grpc, grpcs, http, https)"},
		{"null in a list", "routes", `{"hosts":["a",null]}`, "schema violation (hosts.2: required field missing)"},
		{"shorthand of the wrong type", "plugins", `{"name":"rate-limiting","config":{"minute":1,"redis_port":"x"}}`,
			"schema violation (redis_port: expected an integer)"},
		{"sync rate", "plugins", `{"name":"rate-limiting","config":{"minute":1,"sync_rate":0.01,"policy":"redis","redis":{"host":"h"}}}`,
			"schema violation (config: sync_rate must be greater than 0.02, or -1 to disable)"},
		{"two authorizations", "plugins", `{"name":"http-log","config":{"http_endpoint":"http://u:p@a/","headers":{"authorization":"x"}}}`,
			"schema violation (config: specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed)"},
		{"rename to nothing", "plugins", `{"name":"request-transformer","config":{"rename":{"body":["a"]}}}`,
			"schema violation (config.rename: {\n  body = {\n    \"key 'a' has no value\"\n  }\n})"},
		{"tls_passthrough without a name", "routes", `{"protocols":["tls_passthrough"]}`,
			"schema violation (must set snis when 'protocols' is 'tls_passthrough')"},
		{"member named like an error", "consumers", `{"@entity":1}`,
			"2 schema violations (unknown field; at least one of these fields must be non-empty: 'custom_id', 'username')"},
		{"number beyond an integer", "routes", `{"hosts":["a"],"regex_priority":1e300}`, "schema violation (regex_priority: expected an integer)"},
		{"names said twice", "certificates", `{"snis":["a","a"]}`, "2 schema violations (cert: required field missing; key: required field missing)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := all.Table(c.kind).Insert(decode(t, []byte(c.body)), insertTime)
			if err == nil || err.Error() != c.want {
				t.Errorf("Insert(%s)\n got %v\nwant %s", c.body, err, c.want)
			}
		})
	}
}

func TestBrokenTextNamesItsField(t *testing.T) {
	t.Parallel()
	body, err := schema.DecodeJSON([]byte("{\"host\":\"h\",\"name\":\"\xff\",\"tags\":[\"a\",\"b\xc3\"]}"))
	if err != nil {
		t.Fatal(err)
	}
	want := "2 schema violations (name: invalid utf-8 character sequence detected at position 1; " +
		"tags.2: invalid utf-8 character sequence detected at position 2)"
	if _, err := all.Table("services").Insert(body, insertTime); err == nil || err.Error() != want {
		t.Errorf("Insert = %v, want %s", err, want)
	}
}
