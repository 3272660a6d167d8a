// Package keyauth lets clients in by an API key, and finds their consumer by it.
//
// It knows where a key may stand in a request; which keys there are is the directory's.
// Enter at Definition.
package keyauth

import (
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles where keys are looked for.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{
		hide: c.GetHideCredentials(), anonymous: c.GetAnonymous(), preflight: c.GetRunOnPreflight(),
		inHeader: c.GetKeyInHeader(), inQuery: c.GetKeyInQuery(), inBody: c.GetKeyInBody(), challenge: "Key",
	}
	if c.GetRealm() != "" {
		f.challenge = `Key realm="` + c.GetRealm() + `"`
	}
	for _, n := range c.GetKeyNames() {
		header := n
		if dashed := strings.ReplaceAll(n, "_", "-"); dashed != n {
			header = dashed
		}
		f.names = append(f.names, name{plain: n, dashed: header})
	}
	return f, nil
}

// name is one name of a key: as it is said, and with the dashes that headers have.
type name struct{ plain, dashed string }

type filter struct {
	names                     []name
	hide, preflight           bool
	inHeader, inQuery, inBody bool
	anonymous                 string
	challenge                 string
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest finds the key and its consumer. With "anonymous" a client without a good key goes
// on as that consumer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if !f.preflight && x.Request.Method == http.MethodOptions {
		return plugin.Next
	}
	if plugin.Authenticated(x, f.anonymous) {
		return plugin.Next
	}
	refused := f.authenticate(x)
	if !refused.Done() {
		return plugin.Next
	}
	if f.anonymous != "" {
		return plugin.Anonymous(x, f.anonymous)
	}
	x.Early.Set("WWW-Authenticate", f.challenge)
	return refused
}

func (f *filter) authenticate(x *plugin.Exchange) plugin.Verdict {
	key, count := f.find(x)
	switch {
	case count > 1:
		return plugin.Deny(http.StatusUnauthorized, "Duplicate API key found").Because("duplicate-key")
	case key == "":
		return plugin.Deny(http.StatusUnauthorized, "No API key found in request").Because("no-key")
	}
	c := x.Directory.Credential("keyauth_credentials", key)
	if c == nil {
		return plugin.Deny(http.StatusUnauthorized, "Unauthorized").Because("unknown-key")
	}
	plugin.Authenticate(x, c, c.ID)
	return plugin.Next
}

// find returns the first key that stands in the request and how often its name stands there.
func (f *filter) find(x *plugin.Exchange) (key string, count int) {
	var b body
	if f.inBody {
		b = readBody(x)
	}
	for _, n := range f.names {
		if key, count = f.findName(x, n, &b); count > 0 {
			if f.hide {
				f.remove(x, n, &b)
			}
			return key, count
		}
	}
	return "", 0
}

func (f *filter) findName(x *plugin.Exchange, n name, b *body) (string, int) {
	if f.inHeader {
		for _, h := range [2]string{n.plain, n.dashed} {
			if v, ok := x.Request.Header.Lookup(h); ok {
				return v, x.Request.Header.Count(h)
			}
		}
	}
	if f.inQuery {
		if v, count := argument(x.Upstream.Query, n.plain); count > 0 {
			return v, count
		}
	}
	if f.inBody {
		return b.find(n.plain)
	}
	return "", 0
}

// remove takes the key out of what goes upstream.
func (f *filter) remove(x *plugin.Exchange, n name, b *body) {
	x.Request.Header.Del(n.plain)
	x.Request.Header.Del(n.dashed)
	if _, count := argument(x.Upstream.Query, n.plain); count > 0 {
		x.Upstream.Query = without(x.Upstream.Query, n.plain)
	}
	if f.inBody {
		b.remove(x, n.plain)
	}
}
