package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/acl"
	"github.com/sekifuda/sekifuda/plugin/aipromptdecorator"
	"github.com/sekifuda/sekifuda/plugin/aipromptguard"
	"github.com/sekifuda/sekifuda/plugin/aiprompttemplate"
	"github.com/sekifuda/sekifuda/plugin/aiproxy"
	"github.com/sekifuda/sekifuda/plugin/aitokenlimiting"
	"github.com/sekifuda/sekifuda/plugin/basicauth"
	"github.com/sekifuda/sekifuda/plugin/concurrencylimiting"
	"github.com/sekifuda/sekifuda/plugin/correlationid"
	"github.com/sekifuda/sekifuda/plugin/datadog"
	"github.com/sekifuda/sekifuda/plugin/hmacauth"
	"github.com/sekifuda/sekifuda/plugin/jwt"
	"github.com/sekifuda/sekifuda/plugin/loggly"
	"github.com/sekifuda/sekifuda/plugin/opentelemetry"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/proxycache"
	"github.com/sekifuda/sekifuda/plugin/redirect"
	"github.com/sekifuda/sekifuda/plugin/requesttermination"
	"github.com/sekifuda/sekifuda/plugin/responseratelimiting"
	"github.com/sekifuda/sekifuda/plugin/responsetransformer"
	"github.com/sekifuda/sekifuda/plugin/standardwebhooks"
	"github.com/sekifuda/sekifuda/plugin/statsd"
	"github.com/sekifuda/sekifuda/plugin/syslog"
	"github.com/sekifuda/sekifuda/plugin/tcplog"
	"github.com/sekifuda/sekifuda/plugin/udplog"
	"github.com/sekifuda/sekifuda/plugin/zipkin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// folders are those of the plugins whose way from the desk to the gate is held here.
var folders = map[string]*plugin.Definition{
	"acl": acl.Definition, "basicauth": basicauth.Definition, "correlationid": correlationid.Definition,
	"hmacauth": hmacauth.Definition, "jwt": jwt.Definition, "opentelemetry": opentelemetry.Definition,
	"proxycache": proxycache.Definition, "redirect": redirect.Definition,
	"requesttermination": requesttermination.Definition, "responseratelimiting": responseratelimiting.Definition,
	"responsetransformer": responsetransformer.Definition, "standardwebhooks": standardwebhooks.Definition,
	"syslog": syslog.Definition, "tcplog": tcplog.Definition, "udplog": udplog.Definition,
	"aitokenlimiting": aitokenlimiting.Definition,
	"aiproxy":         aiproxy.Definition, "aipromptguard": aipromptguard.Definition,
	"aipromptdecorator": aipromptdecorator.Definition, "aiprompttemplate": aiprompttemplate.Definition,
	"concurrencylimiting": concurrencylimiting.Definition,
	"statsd":              statsd.Definition, "datadog": datadog.Definition, "loggly": loggly.Definition, "zipkin": zipkin.Definition,
}

// TestExamplesComeFromTheDeskToTheGate writes the example of each README as the Admin API
// does, with defaults and checks, and compiles what is stored.
func TestExamplesComeFromTheDeskToTheGate(t *testing.T) {
	t.Parallel()
	var definitions []*plugin.Definition
	for _, d := range folders {
		definitions = append(definitions, d)
	}
	set, err := plugin.Load(definitions...)
	if err != nil {
		t.Fatal(err)
	}
	var schemas []*schema.Plugin
	for _, p := range set.All() {
		schemas = append(schemas, p.Plugin)
	}
	all, err := model.New(schemas)
	if err != nil {
		t.Fatal(err)
	}
	for folder := range folders {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			body := example(t, filepath.Join(folder, "README.md"))
			m, err := all.Table("plugins").Insert(body, time.Unix(1700000000, 0))
			if err != nil {
				t.Fatalf("Insert: %v", err)
			}
			entity := m.(*entityv1.Plugin)
			config, err := entity.GetConfig().UnmarshalNew()
			if err != nil {
				t.Fatal(err)
			}
			p := set.Lookup(entity.GetName())
			if p == nil {
				t.Fatalf("there is no plugin %q", entity.GetName())
			}
			f, err := p.New(config, plugintest.NewHost())
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			exercise(f)
			if _, err := p.New(proto.Clone(config), plugintest.NewHost()); err != nil {
				t.Errorf("New of a copy: %v", err)
			}
		})
	}
}

func example(t *testing.T, readme string) schema.Body {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	var body schema.Body
	if err := json.Unmarshal([]byte(block), &body); err != nil {
		t.Fatalf("parse example of %s: %v", readme, err)
	}
	return body
}

// exercise runs all phases of a filter on a request that knows nothing of it.
func exercise(f plugin.Filter) {
	x := plugintest.Request{}.Exchange()
	v := plugin.Next
	if r, ok := f.(plugin.RequestFilter); ok {
		v = r.OnRequest(x)
	}
	plugintest.Answer(x, f, v, 200, "Content-Type: application/json")
	if l, ok := f.(plugin.LogFilter); ok {
		l.OnLog(x)
	}
}
