package model_test

import (
	"encoding/json"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
)

func TestSchemasVectors(t *testing.T) {
	t.Parallel()
	file := readVectors[map[string]json.RawMessage](t, "schemas.json")
	delete(file, "_about")
	// "tags" is no entity here: the store answers for it.
	delete(file, "tags")
	notExpected, judged := 0, 0
	for name, want := range file {
		plugin, isPlugin := strings.CutPrefix(name, "plugins/")
		if isPlugin && absentPlugins[plugin] {
			notExpected++
			continue
		}
		judged++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got schema.Body
			if isPlugin {
				got = all.Plugin(plugin).JSON()
			} else {
				got = all.Table(name).JSON()
			}
			if got := recordedSecret(jsonText(asJSON(t, got))); got != jsonText(decode(t, want)) {
				t.Errorf("got  %s\nwant %s", got, jsonText(decode(t, want)))
			}
		})
	}
	if notExpected != 1 || judged != 61 {
		t.Errorf("%d schemas of plugins that are not here and %d judged, want 1 and 61", notExpected, judged)
	}
}

// secret finds the one that this process made for sessions.
var secret = regexp.MustCompile(`"(secret":(?:\{"default":)?)"[A-Za-z0-9]{44}"`)

// recordedSecret gives a text the secret that was recorded of another process.
func recordedSecret(text string) string { return secret.ReplaceAllString(text, `"$1"b64"`) }

func TestFormVectors(t *testing.T) {
	t.Parallel()
	file := readVectors[struct {
		Vectors []struct{ Input, Result json.RawMessage }
	}](t, "form.json")
	if len(file.Vectors) != 10 {
		t.Errorf("%d vectors, want 10", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(string(v.Input), func(t *testing.T) {
			t.Parallel()
			got := asJSON(t, schema.FormUntyped(formValues(t, v.Input)))
			if !reflect.DeepEqual(got, decode(t, v.Result)) {
				t.Errorf("FormUntyped(%s) = %s, want %s", v.Input, jsonText(got), v.Result)
			}
		})
	}
}

func TestPathVectors(t *testing.T) {
	t.Parallel()
	file := readVectors[struct {
		Vectors []struct {
			Input  struct{ Path string }
			Result struct{ Normalized string }
		}
	}](t, "path.json")
	if len(file.Vectors) != 16 {
		t.Errorf("%d vectors, want 16", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		if got := model.NormalPath(v.Input.Path); got != v.Result.Normalized {
			t.Errorf("NormalPath(%q) = %q, want %q", v.Input.Path, got, v.Result.Normalized)
		}
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kind, form, want string
	}{
		{"repeated name is a list", "routes", "hosts=a&hosts=b", `{"hosts":["a","b"]}`},
		{"brackets append", "routes", "hosts[]=a&hosts[]=b", `{"hosts":["a","b"]}`},
		{"ten items keep their order", "routes", "hosts[10]=j&hosts[2]=b&hosts[1]=a", `{"hosts":["a","b","j"]}`},
		{"one value is a list of one", "routes", "hosts=a,b", `{"hosts":["a,b"]}`},
		{"list in a map", "routes", "headers.x-foo=bar", `{"headers":{"x-foo":["bar"]}}`},
		{"records in a set", "routes", "sources[1].ip=1.2.3.4&sources[1].port=80", `{"sources":[{"ip":"1.2.3.4","port":80}]}`},
		{"empty is null", "services", "path=&retries=&tags=", `{"path":null,"retries":null,"tags":null}`},
		{"empty stays for unknown fields", "services", "nope=", `{"nope":""}`},
		{"foreign by name", "routes", "service.name=s", `{"service":{"name":"s"}}`},
		{"foreign in brackets, empty", "routes", "service[id]=", `{"service":{"id":null}}`},
		{"foreign empty", "routes", "service=", `{"service":null}`},
		{"numbers as Lua reads them", "services", "port=0x1F&retries=1e1&read_timeout=+5", `{"port":31,"retries":10,"read_timeout":5}`},
		{"no number stays text", "services", "port=1_0&retries=inf", `{"port":"1_0","retries":"inf"}`},
		{"booleans are exact", "services", "enabled=true&tls_verify=on", `{"enabled":true,"tls_verify":"on"}`},
		{"shorthands", "services", "url=http%3A%2F%2Fa%2F", `{"url":"http://a/"}`},
		{"config by name", "plugins", "name=rate-limiting&config.minute=5&config.redis_port=1", `{"name":"rate-limiting","config":{"minute":5,"redis_port":1}}`},
		{"config list in brackets", "plugins", "name=key-auth&config[key_names][]=k", `{"name":"key-auth","config":{"key_names":["k"]}}`},
		{"ttl is a number", "keyauth_credentials", "ttl=60", `{"ttl":60}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			values, err := url.ParseQuery(c.form)
			if err != nil {
				t.Fatal(err)
			}
			got := asJSON(t, all.Table(c.kind).Form(values))
			if !reflect.DeepEqual(got, decode(t, []byte(c.want))) {
				t.Errorf("Form(%s) = %s, want %s", c.form, jsonText(got), c.want)
			}
		})
	}
}

func TestFormNamedReadsTheStoredPlugin(t *testing.T) {
	t.Parallel()
	got := asJSON(t, all.Table("plugins").FormNamed(url.Values{"config.minute": {"7"}}, "rate-limiting"))
	if want := `{"config":{"minute":7}}`; jsonText(got) != want {
		t.Errorf("FormNamed = %s, want %s", jsonText(got), want)
	}
}

func TestConfigsByName(t *testing.T) {
	t.Parallel()
	env := all.Table("vaults").Config("env")
	if env == nil {
		t.Fatal("no vault env")
	}
	want := `{"entity_checks":[],"fields":[{"config":{"fields":[{"prefix":{"match":"^[%a_-][%a%d_-]*$","type":"string"}}],"required":true,"type":"record"}}]}`
	if got := jsonText(env.JSON()); got != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
	if all.Table("plugins").Config("cors") != all.Plugin("cors") || all.Table("plugins").Config("nope") != nil {
		t.Error("configs of plugins are not the plugins")
	}
	if all.Table("services").Config("x") != nil {
		t.Error("a service has a config")
	}
	// GET /plugins/schema/{name} is the config alone.
	whole := asJSON(t, all.Plugin("key-auth").JSON())["fields"].([]any)
	config := whole[len(whole)-1].(map[string]any)["config"]
	if got := asJSON(t, all.Plugin("key-auth").ConfigJSON()); !reflect.DeepEqual(got, config) {
		t.Errorf("ConfigJSON = %s, want %s", jsonText(got), jsonText(config))
	}
}
