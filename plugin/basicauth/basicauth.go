// Package basicauth lets clients in by a name and a password, and finds their consumer by
// them.
//
// It knows the Basic scheme; which names there are is the directory's, and how a password is
// stored is the credential's own. Enter at Definition.
package basicauth

import (
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultRealm = "service"

// New makes the challenge ready.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	realm := defaultRealm
	if c.Realm != nil {
		realm = c.GetRealm()
	}
	return &filter{
		hide: c.GetHideCredentials(), anonymous: c.GetAnonymous(),
		challenge: `Basic realm="` + realm + `"`, verifier: shared,
	}, nil
}

type filter struct {
	hide      bool
	anonymous string
	challenge string
	verifier  *verifier
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest finds the consumer. With "anonymous" a client without a good password goes on as
// that consumer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if plugin.Authenticated(x, f.anonymous) {
		return plugin.Next
	}
	reason := f.authenticate(x)
	if reason == "" {
		return plugin.Next
	}
	if f.anonymous != "" {
		return plugin.Anonymous(x, f.anonymous)
	}
	x.Early.Set("WWW-Authenticate", f.challenge)
	return plugin.Deny(http.StatusUnauthorized, "Unauthorized").Because(reason)
}

// authenticate tries Proxy-Authorization, then Authorization when the first names nobody, as
// Kong does. It returns why it failed.
func (f *filter) authenticate(x *plugin.Exchange) (reason string) {
	reason = "no-credentials"
	for _, header := range [2]string{"Proxy-Authorization", "Authorization"} {
		name, password, ok := f.take(x, header)
		if !ok {
			continue
		}
		c := x.Directory.Credential(plugin.BasicCredentials, name)
		if c == nil {
			reason = "unknown-name"
			continue
		}
		secret, ok := c.Secret.(*plugin.BasicSecret)
		if !ok || !f.verifier.matches(x, secret, password) {
			return "wrong-password"
		}
		plugin.Authenticate(x, c, name)
		return ""
	}
	return reason
}

// take reads a header, and removes it when credentials are hidden from the upstream.
func (f *filter) take(x *plugin.Exchange, header string) (name, password string, ok bool) {
	value, there := x.Request.Header.Lookup(header)
	if !there {
		return "", "", false
	}
	name, password, ok = parse(x, value)
	if f.hide {
		x.Request.Header.Del(header)
	}
	return name, password, ok
}
