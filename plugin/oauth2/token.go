package oauth2

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// client is who asks the token endpoint.
type client struct {
	id, secret param
	byHeader   bool // it said so in the header
	credential *plugin.Credential
}

// token answers an application with a token.
func (f *filter) token(x *plugin.Exchange) (plugin.Verdict, error) {
	p := read(x)
	answer, why, err := f.issue(x, p)
	if err != nil {
		return plugin.Next, err
	}
	status, reason := http.StatusOK, "token-issued"
	if why != nil {
		status, reason = http.StatusBadRequest, why.reason
		answer = values{"error": why.code, "error_description": why.description}
		if why.challenge != "" {
			status = http.StatusUnauthorized
			x.Early.Set("WWW-Authenticate", why.challenge)
		}
	}
	answer.state(p)
	noStore(x)
	return exit(status, answer).Because(reason), nil
}

func (f *filter) issue(x *plugin.Exchange, p params) (values, *problem, error) {
	if !f.secure(x) {
		return nil, &problem{code: "access_denied", description: "You must use HTTPS", reason: "no-tls"}, nil
	}
	kind := p.get("grant_type").value
	c, why := f.client(x, p, kind)
	if why != nil {
		return nil, why, nil
	}
	switch kind {
	case "authorization_code":
		return f.byCode(x, p, c)
	case "refresh_token":
		return f.byRefresh(x, p, c)
	case "client_credentials":
		if p.get("authenticated_userid").there && !f.provisioned(p) {
			return nil, badProvisionKey, nil
		}
		if c == nil {
			return nil, badClient, nil
		}
		return f.byScope(x, p, c, false)
	default: // password
		switch {
		case !f.provisioned(p):
			return nil, badProvisionKey, nil
		case strings.TrimSpace(p.get("authenticated_userid").value) == "":
			return nil, noUser, nil
		}
		return f.byScope(x, p, c, true)
	}
}

// client finds the application that asks, and holds it to its secret. Of several problems the
// last is told, as by Kong 3.9.1.
func (f *filter) client(x *plugin.Exchange, p params, kind string) (_ *plugin.Credential, why *problem) {
	switch {
	case kind == "authorization_code", kind == "refresh_token":
	case kind == "client_credentials" && f.GetEnableClientCredentials(), kind == "password" && f.GetEnablePasswordGrant():
	default:
		why = &problem{code: "unsupported_grant_type", description: "Invalid grant_type", reason: "invalid-grant-type"}
	}
	c := f.introduced(x, p)
	var uris []string
	c.credential, uris = find(x, c.id)
	if kind != "client_credentials" {
		want := p.get("redirect_uri")
		switch {
		case len(uris) == 0:
			why = c.refused()
		case want.there && !slices.Contains(uris, want.value):
			why = badRedirect
		}
	}
	if c.credential == nil {
		return nil, why
	}
	switch app := registered(c.credential); {
	case !app.Public && (!c.secret.there || !app.Matches(c.secret.value)):
		why = c.refused()
	case app.Public && strings.TrimSpace(c.secret.value) != "":
		why = &problem{code: "invalid_request", description: "client_secret is disallowed for public clients", reason: "secret-of-public-client"}
	}
	return c.credential, why
}

// refused is badClient; who tried by the header is told so (RFC 6749 section 5.2).
func (c *client) refused() *problem {
	p := *badClient
	if c.byHeader {
		p.challenge = `Basic realm="OAuth2.0"`
	}
	return &p
}

// introduced reads who asks: the parameters, else the header by the Basic scheme.
func (f *filter) introduced(x *plugin.Exchange, p params) *client {
	c := &client{id: p.get("client_id"), secret: p.get("client_secret")}
	if c.id.there && c.secret.there {
		return c
	}
	value, there := x.Request.Header.Lookup(f.header)
	if !there {
		c.secret = param{}
		return c
	}
	c.byHeader, c.id, c.secret = true, param{}, param{}
	scheme := strings.TrimLeft(value, " \t")
	if len(scheme) < 6 || scheme[1:5] != "asic" || scheme[0]|0x20 != 'b' {
		return c
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(scheme[5:]))
	if err != nil {
		return c
	}
	id, secret, both := strings.Cut(string(plain), ":")
	c.id = param{id, true, id != ""}
	secret, _, _ = strings.Cut(secret, ":") // Kong 3.9.1 ends it there
	c.secret = param{secret, both, secret != ""}
	return c
}

// byScope gives a token for what is asked.
func (f *filter) byScope(x *plugin.Exchange, p params, c *plugin.Credential, renewable bool) (values, *problem, error) {
	scope, why := f.scope(p.get("scope"))
	if why != nil {
		return nil, why, nil
	}
	answer, err := f.newToken(x, c, grant{user: p.get("authenticated_userid").value, scope: scope}, renewable)
	return answer, nil, err
}

func invalidParam(name string) *problem {
	return &problem{code: "invalid_request", description: "Invalid " + name, reason: "invalid-" + strings.ReplaceAll(name, "_", "-")}
}

// byCode gives a token for a code, which is then spent.
func (f *filter) byCode(x *plugin.Exchange, p params, c *plugin.Credential) (values, *problem, error) {
	text := p.get("code")
	if !text.text {
		return nil, invalidParam("code"), nil
	}
	kept, err := f.code(x, text.value)
	if err != nil {
		return nil, nil, err
	}
	service := f.boundTo(x)
	if kept == nil || service != "" && service != kept.Service || kept.Credential != c.ID {
		return nil, invalidParam("code"), nil
	}
	if f.needsProof(c, kept.Method) {
		if why := prove(p.get("code_verifier"), kept.Challenge); why != nil {
			return nil, why, nil
		}
	}
	if f.GetGlobalCredentials() && kept.Plugin != f.pluginID {
		return nil, invalidParam("code"), nil
	}
	mine, err := f.spend(x, text.value)
	if err != nil {
		return nil, nil, err
	}
	if !mine { // another has just taken it
		return nil, invalidParam("code"), nil
	}
	answer, err := f.newToken(x, c, grant{user: kept.User, scope: kept.Scope}, true)
	return answer, nil, err
}

// prove holds what a code's taker shows against what its asker announced (RFC 7636 section 4.6).
func prove(verifier param, challenge string) *problem {
	invalid := func(description string) *problem {
		return &problem{code: "invalid_request", description: "code_verifier " + description, reason: "invalid-verifier"}
	}
	switch n := len(verifier.value); {
	case !verifier.there:
		return invalid("is required for PKCE authorization requests")
	case !verifier.text && n == 0:
		return invalid("must be between 43 and 128 characters")
	case !verifier.text:
		return invalid("is not a string")
	case n < 43 || n > 128:
		return invalid("must be between 43 and 128 characters")
	}
	sum := sha256.Sum256([]byte(verifier.value))
	if challenge == "" || !same(base64.RawURLEncoding.EncodeToString(sum[:]), challenge) {
		return &problem{code: "invalid_grant", description: "Invalid code", reason: "wrong-verifier"}
	}
	return nil
}

// byRefresh gives a new token for one that is renewed.
func (f *filter) byRefresh(x *plugin.Exchange, p params, c *plugin.Credential) (values, *problem, error) {
	text := p.get("refresh_token")
	if !text.text {
		return nil, invalidParam("refresh_token"), nil
	}
	old, err := f.renewable(x, text.value)
	if err != nil {
		return nil, nil, err
	}
	service := f.boundTo(x)
	switch {
	case old == nil || service != "" && service != old.Service:
		return nil, invalidParam("refresh_token"), nil
	case old.Credential != c.ID:
		return nil, badClient, nil
	}
	for _, word := range strings.Fields(old.Scope) {
		if !slices.Contains(f.GetScopes(), word) {
			return nil, &problem{code: "invalid_scope", description: "Scope mismatch", reason: "invalid-scope"}, nil
		}
	}
	g := grant{user: old.User, scope: old.Scope}
	if f.GetReuseRefreshToken() {
		g.refresh = text.value
	}
	mine, err := f.retire(x, old, text.value)
	if err != nil {
		return nil, nil, err
	}
	if !mine {
		return nil, invalidParam("refresh_token"), nil
	}
	answer, err := f.newToken(x, c, g, true)
	return answer, nil, err
}
