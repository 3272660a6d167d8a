package oauth2

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// asked is a request to the authorization endpoint as far as it was understood.
type asked struct {
	params    params
	client    *plugin.Credential // nil: unknown, or it has no place to send users to
	redirect  string             // "": unknown
	scope     string
	challenge string // of the proof (RFC 7636); "": none
	method    string
}

// authorize answers the own login page, which says who the user is, with where to send him:
// with a code, or with a token.
func (f *filter) authorize(x *plugin.Exchange) (plugin.Verdict, error) {
	p := read(x)
	a := &asked{params: p}
	answer, why, implicit := values{}, f.admit(x, a), false
	if why == nil {
		var err error
		if p.get("response_type").value == "code" {
			answer, err = f.newCode(x, a)
		} else {
			implicit = true
			answer, err = f.newToken(x, a.client, grant{user: p.get("authenticated_userid").value, scope: a.scope}, false)
		}
		if err != nil {
			return plugin.Next, err
		}
	}
	status, reason := http.StatusOK, "authorized"
	if why != nil {
		status, reason = http.StatusBadRequest, why.reason
		answer = values{"error": why.code, "error_description": why.description}
	}
	answer.state(p)
	noStore(x)
	if a.redirect != "" {
		answer = values{"redirect_uri": send(a.redirect, answer, implicit)}
	}
	return exit(status, answer).Because(reason), nil
}

// state is repeated to the client when it said one.
func (v values) state(p params) {
	if s := p.get("state"); s.there {
		v["state"] = s.value
	}
}

// send adds an answer to the address to which a user is sent.
func send(redirect string, answer values, fragment bool) string {
	u, err := url.Parse(redirect)
	if err != nil {
		return redirect // not reached: it was checked when it was registered
	}
	if !fragment {
		u.RawQuery = answer.merge(u.RawQuery)
		return u.String()
	}
	merged := answer.merge(u.EscapedFragment())
	u.Fragment, u.RawFragment = "", ""
	return u.String() + "#" + merged
}

// admit holds a request against what may be asked. Of several problems the last is told, as by
// Kong 3.9.1: those before it do not hide where to send the user.
func (f *filter) admit(x *plugin.Exchange, a *asked) (why *problem) {
	p := a.params
	switch {
	case !f.secure(x):
		return &problem{code: "access_denied", description: "You must use HTTPS", reason: "no-tls"}
	case !f.provisioned(p):
		return badProvisionKey
	case strings.TrimSpace(p.get("authenticated_userid").value) == "":
		return noUser
	}
	kind := p.get("response_type").value
	if !(kind == "code" && f.GetEnableAuthorizationCode() || kind == "token" && f.GetEnableImplicitGrant()) {
		why = &problem{code: "unsupported_response_type", description: "Invalid response_type", reason: "invalid-response-type"}
	}
	scope, bad := f.scope(p.get("scope"))
	if a.scope = scope; bad != nil {
		why = bad
	}
	if bad := f.place(x, a); bad != nil {
		why = bad
	}
	if bad := f.proof(a); bad != nil {
		why = bad
	}
	return why
}

var (
	badProvisionKey = &problem{code: "invalid_provision_key", description: "Invalid provision_key", reason: "invalid-provision-key"}
	noUser          = &problem{code: "invalid_authenticated_userid", description: "Missing authenticated_userid parameter", reason: "no-user"}
	badClient       = &problem{code: "invalid_client", description: "Invalid client authentication", reason: "invalid-client"}
	badRedirect     = &problem{
		code: "invalid_request", reason: "invalid-redirect",
		description: "Invalid redirect_uri that does not match with any redirect_uri created with the application",
	}
)

// provisioned reports whether the request comes from the own login page.
func (f *filter) provisioned(p params) bool {
	key := p.get("provision_key")
	return key.text && same(key.value, f.GetProvisionKey())
}

// place finds the application and where it has its users sent to.
func (f *filter) place(x *plugin.Exchange, a *asked) *problem {
	client, uris := find(x, a.params.get("client_id"))
	if len(uris) == 0 {
		return badClient
	}
	a.client, a.redirect = client, uris[0]
	want := a.params.get("redirect_uri")
	if !want.there {
		return nil
	}
	if !slices.Contains(uris, want.value) {
		return badRedirect
	}
	a.redirect = want.value
	return nil
}

// find returns an application, and the addresses that it registered.
func find(x *plugin.Exchange, id param) (*plugin.Credential, []string) {
	if !id.text {
		return nil, nil
	}
	c := x.Directory.Credential(plugin.OAuth2Clients, id.value)
	if c == nil {
		return nil, nil
	}
	return c, registered(c).RedirectURIs
}

func registered(c *plugin.Credential) *plugin.OAuth2Client {
	app, ok := c.Secret.(*plugin.OAuth2Client)
	if !ok {
		return &plugin.OAuth2Client{} // not reached: the kind has no other
	}
	return app
}

// proof reads what a code's taker must prove (RFC 7636 section 4.3).
func (f *filter) proof(a *asked) *problem {
	challenge, method := a.params.get("code_challenge"), a.params.get("code_challenge_method")
	invalid := func(description string) *problem {
		return &problem{code: "invalid_request", description: description, reason: "invalid-challenge"}
	}
	switch {
	case method.there && !challenge.there:
		return invalid("code_challenge is required when code_method is present")
	case challenge.there && method.there && !strings.EqualFold(method.value, "S256"):
		return invalid("code_challenge_method is not supported, must be S256")
	case challenge.there:
		a.challenge, a.method = unpadded(challenge.value), "S256"
	case a.client != nil && f.needsProof(a.client, ""):
		kind := "confidential"
		if registered(a.client).Public {
			kind = "public"
		}
		return invalid("code_challenge is required for " + kind + " clients")
	}
	return nil
}

// needsProof reports whether a code of the application needs a proof; one that was asked for
// with a challenge always does.
func (f *filter) needsProof(c *plugin.Credential, method string) bool {
	switch {
	case method != "":
		return true
	case registered(c).Public:
		return f.GetPkce() != "none"
	}
	return f.GetPkce() == "strict"
}

// unpadded brings a challenge to the form of base64url without padding, if it is in another.
func unpadded(challenge string) string {
	plain := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(challenge, "="))
	if _, err := base64.RawURLEncoding.DecodeString(plain); err != nil {
		return challenge
	}
	return plain
}
