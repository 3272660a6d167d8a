package model_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin/acl"
	"github.com/sekifuda/sekifuda/plugin/aipromptdecorator"
	"github.com/sekifuda/sekifuda/plugin/aipromptguard"
	"github.com/sekifuda/sekifuda/plugin/aiprompttemplate"
	"github.com/sekifuda/sekifuda/plugin/aiproxy"
	"github.com/sekifuda/sekifuda/plugin/airequesttransformer"
	"github.com/sekifuda/sekifuda/plugin/airesponsetransformer"
	"github.com/sekifuda/sekifuda/plugin/awslambda"
	"github.com/sekifuda/sekifuda/plugin/azurefunctions"
	"github.com/sekifuda/sekifuda/plugin/basicauth"
	"github.com/sekifuda/sekifuda/plugin/botdetection"
	"github.com/sekifuda/sekifuda/plugin/correlationid"
	"github.com/sekifuda/sekifuda/plugin/cors"
	"github.com/sekifuda/sekifuda/plugin/datadog"
	"github.com/sekifuda/sekifuda/plugin/filelog"
	"github.com/sekifuda/sekifuda/plugin/grpcgateway"
	"github.com/sekifuda/sekifuda/plugin/grpcweb"
	"github.com/sekifuda/sekifuda/plugin/hmacauth"
	"github.com/sekifuda/sekifuda/plugin/httplog"
	"github.com/sekifuda/sekifuda/plugin/iprestriction"
	"github.com/sekifuda/sekifuda/plugin/jwt"
	"github.com/sekifuda/sekifuda/plugin/keyauth"
	"github.com/sekifuda/sekifuda/plugin/ldapauth"
	"github.com/sekifuda/sekifuda/plugin/loggly"
	"github.com/sekifuda/sekifuda/plugin/oauth2"
	"github.com/sekifuda/sekifuda/plugin/opentelemetry"
	"github.com/sekifuda/sekifuda/plugin/postfunction"
	"github.com/sekifuda/sekifuda/plugin/prefunction"
	"github.com/sekifuda/sekifuda/plugin/prometheus"
	"github.com/sekifuda/sekifuda/plugin/proxycache"
	"github.com/sekifuda/sekifuda/plugin/ratelimiting"
	"github.com/sekifuda/sekifuda/plugin/redirect"
	"github.com/sekifuda/sekifuda/plugin/requestsizelimiting"
	"github.com/sekifuda/sekifuda/plugin/requesttermination"
	"github.com/sekifuda/sekifuda/plugin/requesttransformer"
	"github.com/sekifuda/sekifuda/plugin/responseratelimiting"
	"github.com/sekifuda/sekifuda/plugin/responsetransformer"
	"github.com/sekifuda/sekifuda/plugin/session"
	"github.com/sekifuda/sekifuda/plugin/standardwebhooks"
	"github.com/sekifuda/sekifuda/plugin/statsd"
	"github.com/sekifuda/sekifuda/plugin/syslog"
	"github.com/sekifuda/sekifuda/plugin/tcplog"
	"github.com/sekifuda/sekifuda/plugin/udplog"
	"github.com/sekifuda/sekifuda/plugin/zipkin"
)

// The vectors were recorded at these times.
var (
	insertTime = time.Unix(1700000000, 0)
	updateTime = time.Unix(1700000100, 0)
)

var all = mustSchema()

func mustSchema() *schema.Schema {
	var plugins []*schema.Plugin
	for _, m := range []proto.Message{
		&keyauth.Config{}, &ratelimiting.Config{}, &cors.Config{}, &botdetection.Config{},
		&iprestriction.Config{}, &requestsizelimiting.Config{}, &requesttransformer.Config{},
		&prometheus.Config{}, &filelog.Config{}, &httplog.Config{},
		&acl.Config{}, &basicauth.Config{}, &correlationid.Config{}, &hmacauth.Config{}, &jwt.Config{},
		&opentelemetry.Config{}, &proxycache.Config{}, &redirect.Config{}, &requesttermination.Config{},
		&responseratelimiting.Config{}, &responsetransformer.Config{}, &standardwebhooks.Config{},
		&syslog.Config{}, &tcplog.Config{}, &udplog.Config{},
		&aiproxy.Config{}, &aipromptguard.Config{}, &aipromptdecorator.Config{}, &aiprompttemplate.Config{},
		&session.Config{}, &grpcgateway.Config{}, &grpcweb.Config{},
		&postfunction.Config{}, &prefunction.Config{}, &azurefunctions.Config{}, &awslambda.Config{}, &ldapauth.Config{}, &oauth2.Config{}, &airesponsetransformer.Config{}, &airequesttransformer.Config{},
		&statsd.Config{}, &datadog.Config{}, &loggly.Config{}, &zipkin.Config{},
	} {
		p, err := schema.LoadPlugin(m.ProtoReflect().Descriptor())
		if err != nil {
			panic(err)
		}
		plugins = append(plugins, p)
	}
	s, err := model.New(plugins)
	if err != nil {
		panic(err)
	}
	return s
}

// absentPlugins are plugins of Kong that this build does not have. The counts below pin how
// many vectors that keeps from being judged: take a name out when its plugin comes.
var absentPlugins = map[string]bool{"acme": true}

// pcre finds the words of a regular expression engine. Those of the vectors are of a build
// without nginx; recorded.json has the gateway's own, which are compared.
var pcre = regexp.MustCompile(`(PCRE returned: )(?:[^"\\]|\\.)*`)

type vector struct {
	Entity      string          `json:"entity"`
	ContentType string          `json:"content_type"`
	Input       json.RawMessage `json:"input"`
	Status      int             `json:"status"`
	Body        map[string]any  `json:"body"`
}

func readVectors[T any](t testing.TB, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValidationVectors(t *testing.T) {
	t.Parallel()
	file := readVectors[struct{ Vectors []vector }](t, "validation.json")
	if len(file.Vectors) != 194 {
		t.Errorf("%d vectors, want 194", len(file.Vectors))
	}
	notExpected := 0
	for i, v := range file.Vectors {
		if absent(v) {
			notExpected++
			continue
		}
		t.Run(fmt.Sprintf("%03d-%s-%s", i, v.Entity, v.ContentType), func(t *testing.T) {
			t.Parallel()
			status, body := run(t, v)
			want := v.Body
			if status != v.Status || pcre.ReplaceAllString(recordedSecret(jsonText(body)), "$1") != pcre.ReplaceAllString(jsonText(want), "$1") {
				t.Errorf("%s\n got %d %s\nwant %d %s", v.Input, status, jsonText(body), v.Status, jsonText(want))
			}
		})
	}
	if notExpected != 0 {
		t.Errorf("%d vectors are of plugins that are not here, want 0", notExpected)
	}
}

// absent tells whether a vector is of a plugin that this build lacks.
func absent(v vector) bool {
	var in struct {
		Name any `json:"name"`
		Base struct {
			Name string `json:"name"`
		} `json:"base"`
	}
	_ = json.Unmarshal(v.Input, &in)
	name, _ := in.Name.(string)
	return v.Entity == "plugins" && (absentPlugins[name] || absentPlugins[in.Base.Name])
}

// run does what the vector's request does and returns the answer as JSON has it.
func run(t *testing.T, v vector) (int, map[string]any) {
	t.Helper()
	table := all.Table(v.Entity)
	var m proto.Message
	var err error
	status, now := 201, insertTime
	switch v.ContentType {
	case "json":
		m, err = table.Insert(decode(t, v.Input), now)
	case "form":
		m, err = table.Insert(table.Form(formValues(t, v.Input)), now)
	case "patch":
		in := decode(t, v.Input)
		m, err = table.Insert(in["base"].(schema.Body), now)
		if err == nil {
			status, now = 200, updateTime
			m, err = table.Update(m, in["patch"].(schema.Body), now)
		}
	default:
		t.Fatalf("content type %q", v.ContentType)
	}
	if err != nil {
		return 400, faultBody(t, err)
	}
	return status, normal(t, table.Render(stored(t, table, m), now), v.Body)
}

// stored sends an entity through its stored form, which must lose nothing.
func stored(t testing.TB, table *schema.Table, m proto.Message) proto.Message {
	t.Helper()
	data, err := schema.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := table.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m, again) {
		t.Fatalf("stored %v, read %v", m, again)
	}
	data2, err := schema.Marshal(again)
	if err != nil || !bytes.Equal(data, data2) {
		t.Fatalf("encoding is not stable: %x, %x", data, data2)
	}
	return again
}

func faultBody(t *testing.T, err error) map[string]any {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("not a fault: %v", err)
	}
	codes := map[fault.Kind]int{fault.SchemaViolation: 2}
	return asJSON(t, map[string]any{
		"code": codes[f.Kind], "name": string(f.Kind), "message": f.Message, "fields": f.Fields,
	})
}

var random = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)

// normal replaces what differs from run to run by what the vectors say.
func normal(t *testing.T, b schema.Body, want map[string]any) map[string]any {
	t.Helper()
	out := asJSON(t, b)
	if id, _ := out["id"].(string); id == "" {
		t.Errorf("no id in %v", out)
	}
	out["id"] = want["id"]
	for k, v := range want {
		if s, ok := out[k].(string); ok && v == "<random>" && random.MatchString(s) {
			out[k] = v
		}
	}
	// The vectors are of the schema alone; ttl is an option beside it.
	if _, there := want["ttl"]; !there {
		if v, shown := out["ttl"]; shown && v == nil {
			delete(out, "ttl")
		}
	}
	return out
}

func asJSON(t testing.TB, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

func decode(t testing.TB, data []byte) map[string]any {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func formValues(t testing.TB, data []byte) url.Values {
	t.Helper()
	values := url.Values{}
	for k, v := range decode(t, data) {
		switch v := v.(type) {
		case string:
			values.Add(k, v)
		case []any:
			for _, e := range v {
				values.Add(k, e.(string))
			}
		default:
			t.Fatalf("form value %v", v)
		}
	}
	return values
}

func jsonText(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}
