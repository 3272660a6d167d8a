// Package keyauth recognises consumers by a key in a header, the query or the body.
//
// It knows where a key may be; whose it is, the gate's directory says. Enter at Definition.
package keyauth

import (
	"fmt"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New prepares the places in which to look.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	names := c.GetKeyNames()
	if len(names) == 0 {
		names = []string{"apikey"}
	}
	f := &filter{
		host:        h,
		inHeader:    c.KeyInHeader == nil || c.GetKeyInHeader(),
		inQuery:     c.KeyInQuery == nil || c.GetKeyInQuery(),
		inBody:      c.GetKeyInBody(),
		hide:        c.GetHideCredentials(),
		anonymous:   c.GetAnonymous(),
		preflight:   c.RunOnPreflight == nil || c.GetRunOnPreflight(),
		description: "Key",
	}
	if c.GetRealm() != "" {
		f.description = `Key realm="` + c.GetRealm() + `"`
	}
	for _, name := range names {
		if !validName(name) {
			return nil, fmt.Errorf("config.key_names: bad header name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'", name)
		}
		f.names = append(f.names, makeName(name))
	}
	return f, nil
}

func validName(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

type filter struct {
	host        plugin.Host
	names       []name
	inHeader    bool
	inQuery     bool
	inBody      bool
	hide        bool
	anonymous   string
	preflight   bool
	description string
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest authenticates, or with an anonymous consumer lets everyone in as that one. Who
// was recognised by an earlier filter then stays who they are.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if !f.preflight && x.Request.Method == http.MethodOptions {
		return plugin.Next
	}
	if f.anonymous == "" {
		return f.authenticate(x)
	}
	if plugin.Authenticated(x, f.anonymous) || !f.authenticate(x).Done() {
		return plugin.Next
	}
	verdict := plugin.Anonymous(x, f.anonymous)
	if verdict.Done() {
		f.host.Logger().Error("anonymous consumer is unknown", "plugin", "key-auth", "consumer", f.anonymous)
	}
	return verdict
}

func (f *filter) authenticate(x *plugin.Exchange) plugin.Verdict {
	key, found := f.find(x)
	switch {
	case found == many:
		return f.refuse(x, "Duplicate API key found", "two-keys")
	case found == none || key == "":
		return f.refuse(x, "No API key found in request", "no-key")
	}
	credential := x.Directory.Credential(plugin.KeyCredentials, key)
	if credential == nil || credential.Consumer == nil {
		return f.refuse(x, "Unauthorized", "unknown-key")
	}
	plugin.Authenticate(x, credential, credential.ID)
	return plugin.Next
}

// refuse does not touch the answer when an anonymous consumer stands in.
func (f *filter) refuse(x *plugin.Exchange, message, reason string) plugin.Verdict {
	if f.anonymous == "" {
		x.Early.Set("WWW-Authenticate", f.description)
	}
	return plugin.Deny(http.StatusUnauthorized, message).Because(reason)
}
