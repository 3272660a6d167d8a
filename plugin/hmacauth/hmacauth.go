// Package hmacauth lets clients in that signed their request with a shared secret, and finds
// their consumer by the name they signed with.
//
// It knows what a signature covers and when it is too old; whose secrets there are is the
// directory's. Enter at Definition.
package hmacauth

import (
	"fmt"
	"net/http"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	unverified = "HMAC signature cannot be verified"
	noDate     = unverified + ", a valid date or x-date header is required for HMAC Authentication"
	different  = "HMAC signature does not match"
)

// defaultSkew is Kong's default of clock_skew.
const defaultSkew = 300 * time.Second

// New compiles what is asked of a signature. An empty list of algorithms stands for all.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{
		hide: c.GetHideCredentials(), anonymous: c.GetAnonymous(), digest: c.GetValidateRequestBody(),
		enforced: c.GetEnforceHeaders(), skew: defaultSkew, challenge: "hmac", allowed: algorithms,
	}
	if c.ClockSkew != nil {
		f.skew = time.Duration(c.GetClockSkew() * float64(time.Second))
	}
	if c.GetRealm() != "" {
		f.challenge = `hmac realm="` + c.GetRealm() + `"`
	}
	if names := c.GetAlgorithms(); len(names) > 0 {
		f.allowed = map[string]algorithm{}
		for _, name := range names {
			a, ok := algorithms[name]
			if !ok {
				return nil, fmt.Errorf("config.algorithms: unknown algorithm %q", name)
			}
			f.allowed[name] = a
		}
	}
	return f, nil
}

type filter struct {
	hide      bool
	anonymous string
	digest    bool // the body must match its digest
	enforced  []string
	skew      time.Duration
	challenge string
	allowed   map[string]algorithm
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest finds the signer. With "anonymous" a client without a good signature goes on as
// that consumer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
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
	h := &x.Request.Header
	proxy, hasProxy := h.Lookup("Proxy-Authorization")
	own, hasOwn := h.Lookup("Authorization")
	switch {
	case !hasProxy && !hasOwn:
		return refuse("Unauthorized", "no-signature")
	case !f.fresh(x, "X-Date") && !f.fresh(x, "Date"):
		return refuse(noDate, "wrong-date")
	}
	p, ok := parse(proxy)
	if f.hide {
		// The signature covers what the client sent, so nothing is removed before it is checked.
		defer h.Del("Proxy-Authorization")
	}
	if !ok {
		if f.hide {
			defer h.Del("Authorization")
		}
		if p, ok = parse(own); !ok {
			return refuse(unverified, "unreadable-signature")
		}
	}
	return f.verify(x, p)
}

// verify holds a signature against what it must cover and against its owner's secret.
func (f *filter) verify(x *plugin.Exchange, p params) plugin.Verdict {
	for _, name := range f.enforced {
		if !p.covers(name) {
			return refuse(unverified, "header-not-signed")
		}
	}
	a, ok := f.allowed[p.algorithm]
	if !ok {
		return refuse(unverified, "wrong-algorithm")
	}
	c := x.Directory.Credential(plugin.HMACCredentials, p.username)
	if c == nil {
		return refuse(unverified, "unknown-name")
	}
	secret, ok := c.Secret.(*plugin.HMACSecret)
	if !ok || secret.Secret == "" { // with an empty secret anybody could sign
		return refuse(unverified, "no-secret")
	}
	if !a.matches(secret.Secret, p.text(x), p.signature) {
		return refuse(different, "wrong-signature")
	}
	if f.digest && !digestMatches(x) {
		return refuse(different, "wrong-digest")
	}
	plugin.Authenticate(x, c, p.username)
	return plugin.Next
}

// fresh tells whether a date is there and near enough.
func (f *filter) fresh(x *plugin.Exchange, header string) bool {
	text, ok := x.Request.Header.Lookup(header)
	if !ok {
		return false
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return false
	}
	return x.Times.Start.Truncate(time.Second).Sub(date).Abs() <= f.skew
}

func refuse(message, reason string) plugin.Verdict {
	return plugin.Deny(http.StatusUnauthorized, message).Because(reason)
}
