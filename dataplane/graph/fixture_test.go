package graph

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// filter is a plugin of these tests: its configuration is a text, "bad" of which it refuses.
type filter struct{ text string }

func (f *filter) OnRequest(*plugin.Exchange) plugin.Verdict { return plugin.Next }

func newFilter(c *wrapperspb.StringValue, h plugin.Host) (plugin.Filter, error) {
	if strings.HasPrefix(c.Value, "bad") {
		return nil, errors.New("text must not be bad")
	}
	if _, err := h.Limiter(plugin.Rule{}); err != nil {
		return nil, err
	}
	return &filter{c.Value}, nil
}

// plugins are those of the tests, in the order in which they run: auth, shape, log.
func plugins(t testing.TB) *plugin.Set {
	t.Helper()
	d := plugin.Define(newFilter)
	s, err := plugin.NewSet(
		d.With(&schema.Plugin{Name: "log", Priority: 9}),
		d.With(&schema.Plugin{Name: "auth", Priority: 1250}),
		d.With(&schema.Plugin{Name: "shape", Priority: 800}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compiler(t testing.TB) *Compiler {
	return &Compiler{Plugins: plugins(t), Now: func() time.Time { return time.Unix(1000, 0) }}
}

func put(kind, id string, m proto.Message) Change {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return Change{Kind: kind, ID: id, Body: append([]byte{}, b...)}
}

func gone(kind, id string) Change { return Change{Kind: kind, ID: id} }

func route(id, service string, paths ...string) Change {
	m := &entityv1.Route{Id: &id, Name: proto.String("name-" + id), Paths: paths, Protocols: []string{"http", "https"}}
	if service != "" {
		m.Service = &service
	}
	return put("routes", id, m)
}

func service(id, host string) Change {
	return put("services", id, &entityv1.Service{Id: &id, Host: &host})
}

func consumer(id, name string) Change {
	return put("consumers", id, &entityv1.Consumer{Id: &id, Username: &name})
}

func key(id, consumer, key string) Change {
	return put("keyauth_credentials", id, &entityv1.KeyauthCredential{Id: &id, Consumer: &consumer, Key: &key})
}

// configured is a plugin entity; empty texts are no scope.
func configured(id, name, route, service, consumer, text string) Change {
	return put("plugins", id, pluginEntity(id, name, route, service, consumer, text))
}

func pluginEntity(id, name, route, service, consumer, text string) *entityv1.Plugin {
	config, err := anypb.New(wrapperspb.String(text))
	if err != nil {
		panic(err)
	}
	m := &entityv1.Plugin{Id: &id, Name: &name, Config: config}
	for field, v := range map[**string]string{&m.Route: route, &m.Service: service, &m.Consumer: consumer} {
		if v != "" {
			*field = &v
		}
	}
	return m
}

func mustApply(t testing.TB, c *Compiler, prev *Graph, changes ...Change) *Graph {
	t.Helper()
	var rev uint64 = 1
	if prev != nil {
		rev = prev.Revision + 1
	}
	g, err := c.Apply(prev, changes, rev)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func match(g *Graph, path string) *Endpoint {
	var m router.Match[*Endpoint]
	if !g.Match(&router.Request{Method: "GET", Host: "a.com", Path: path, Header: &plugin.Header{}}, &m) {
		return nil
	}
	return m.Value
}

// applied says which configuration of a plugin a request of a consumer meets, or "".
func applied(c *Chain, name string, who *plugin.Consumer) string {
	for i := range c.Steps {
		if c.Steps[i].Plugin.Name == name {
			if in := c.Steps[i].For(who); in != nil {
				return in.Filter.(*filter).text
			}
		}
	}
	return ""
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
