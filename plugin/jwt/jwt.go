// Package jwt lets clients in by a signed JSON web token, and finds their consumer by a claim
// in it.
//
// It knows where a token may stand, its form, its signatures and its times; whose keys there
// are is the directory's. Enter at Definition.
package jwt

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles where tokens are looked for. The config is one that went through the schema,
// so its lists have their defaults.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{
		sources:   sources{arguments: c.GetUriParamNames(), cookies: c.GetCookieNames(), headers: c.GetHeaderNames()},
		anonymous: c.GetAnonymous(), skipPreflight: c.RunOnPreflight != nil && !c.GetRunOnPreflight(),
		keyClaim: c.GetKeyClaimName(), base64: c.GetSecretIsBase64(), challenge: "Bearer",
		maxAhead: c.GetMaximumExpiration(),
	}
	if c.KeyClaimName == nil {
		f.keyClaim = "iss"
	}
	for _, claim := range c.GetClaimsToVerify() {
		switch claim {
		case "exp":
			f.exp = true
		case "nbf":
			f.nbf = true
		default:
			return nil, fmt.Errorf("config.claims_to_verify: expected one of: exp, nbf")
		}
	}
	if f.maxAhead > 0 && !slices.Contains(c.GetClaimsToVerify(), "exp") {
		return nil, fmt.Errorf("config.claims_to_verify: expected to contain: exp")
	}
	if c.GetRealm() != "" {
		f.challenge = `Bearer realm="` + c.GetRealm() + `"`
	}
	f.invalid = f.challenge + ` error="invalid_token"` // Kong 3.9.1 has no comma either
	return f, nil
}

type filter struct {
	sources       sources
	anonymous     string
	skipPreflight bool
	keyClaim      string
	base64        bool // secrets are written in base64
	exp, nbf      bool // times that are checked
	maxAhead      float64

	challenge, invalid string // WWW-Authenticate without and with a token
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest finds the token's owner. With "anonymous" a client without a good token goes on as
// that consumer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if f.skipPreflight && x.Request.Method == http.MethodOptions {
		return plugin.Next
	}
	if plugin.Authenticated(x, f.anonymous) {
		return plugin.Next
	}
	refused, challenge := f.authenticate(x)
	if !refused.Done() {
		return plugin.Next
	}
	if f.anonymous != "" {
		return plugin.Anonymous(x, f.anonymous)
	}
	x.Early.Set("WWW-Authenticate", challenge)
	return refused
}

func (f *filter) authenticate(x *plugin.Exchange) (refused plugin.Verdict, challenge string) {
	text, count := f.sources.find(x)
	switch {
	case count == 0:
		return refuse("Unauthorized", "no-token"), f.challenge
	case count > 1:
		return refuse("Multiple tokens provided", "two-tokens"), f.invalid
	}
	if text == unrecognizable {
		return refuse("Unrecognizable token", "bad-token"), f.invalid
	}
	t, problem := parse(text)
	if problem != "" {
		return refuse("Bad token; "+problem, "bad-token"), f.invalid
	}
	return f.verify(x, t), f.invalid
}

// verify holds a token against its owner's key, and its times against the clock.
func (f *filter) verify(x *plugin.Exchange, t *token) plugin.Verdict {
	key, ok := t.text(f.keyClaim)
	switch {
	case !ok:
		return refuse("No mandatory '"+f.keyClaim+"' in claims", "no-key-claim")
	case key == "":
		return refuse("Invalid '"+f.keyClaim+"' in claims", "empty-key-claim")
	}
	c := x.Directory.Credential(plugin.JWTCredentials, key)
	if c == nil {
		return refuse("No credentials found for given '"+f.keyClaim+"'", "unknown-key")
	}
	secret, ok := c.Secret.(*plugin.JWTSecret)
	if !ok || t.algorithm != secret.Algorithm {
		return refuse("Invalid algorithm", "wrong-algorithm")
	}
	k, ok := f.keyOf(secret)
	if !ok {
		return refuse("Invalid key/secret", "no-secret")
	}
	if !t.signedBy(k) {
		return refuse("Invalid signature", "wrong-signature")
	}
	if v := f.times(x, t); v.Done() {
		return v
	}
	plugin.Authenticate(x, c, key)
	return plugin.Next
}

// refuse answers with a compact body, as Kong's jwt does beside the other authentications.
func refuse(message, reason string) plugin.Verdict {
	return plugin.ExitMessage(http.StatusUnauthorized, message).Because(reason)
}
