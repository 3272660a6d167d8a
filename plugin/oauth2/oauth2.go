// Package oauth2 lets clients in by tokens of OAuth 2.0 (RFC 6749, RFC 7636), and gives such
// tokens to applications that consumers have registered.
//
// It knows the protocol; which applications there are, the directory says, and tokens that it
// makes are records of the gates. Enter at Definition.
package oauth2

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles who may get tokens and what they are good for.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{
		log: h.Logger(), now: time.Now, records: h.Records(), pluginID: h.Scope().PluginID, Config: c,
		header: c.GetAuthHeaderName(), challenge: "Bearer",
		expiration: seconds(c.TokenExpiration, 7200), refresh: seconds(c.RefreshTokenTtl, 1209600),
	}
	if f.header == "" {
		f.header = "authorization"
	}
	if c.Realm != nil {
		f.challenge += ` realm="` + c.GetRealm() + `"`
	}
	return f, nil
}

func seconds(n *float64, otherwise float64) time.Duration {
	if n == nil {
		n = &otherwise
	}
	return time.Duration(*n * float64(time.Second))
}

type filter struct {
	*Config
	log        *slog.Logger
	now        func() time.Time
	records    plugin.Records
	pluginID   string
	header     string // that carries tokens
	challenge  string
	expiration time.Duration // 0: never
	refresh    time.Duration // for which a token can be renewed; 0: for ever
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest gives tokens at the two endpoints, wherever they are below, and asks for one
// everywhere else.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	switch path := strings.TrimSuffix(x.Request.Path, "/"); {
	case strings.HasSuffix(path, "/oauth2/token"):
		return f.endpoint(x, "token", f.token)
	case strings.HasSuffix(path, "/oauth2/authorize"):
		return f.endpoint(x, "authorization", f.authorize)
	}
	if plugin.Authenticated(x, f.GetAnonymous()) {
		tell(x, "", "")
		return plugin.Next
	}
	p, err := f.authenticate(x)
	switch {
	case err != nil:
		return f.broken(err)
	case p == nil:
		return plugin.Next
	case f.GetAnonymous() != "":
		tell(x, "", "")
		return plugin.Anonymous(x, f.GetAnonymous())
	}
	return p.verdict(x, http.StatusUnauthorized)
}

// endpoint serves one of the endpoints, which take POST alone.
func (f *filter) endpoint(x *plugin.Exchange, name string, serve func(*plugin.Exchange) (plugin.Verdict, error)) plugin.Verdict {
	if x.Request.Method != http.MethodPost {
		p := f.invalid("invalid_method", "The HTTP method "+x.Request.Method+" is invalid for the "+name+" endpoint", "invalid-method")
		return p.verdict(x, http.StatusMethodNotAllowed)
	}
	v, err := serve(x)
	if err != nil {
		return f.broken(err)
	}
	return v
}

// broken answers when the records are away: who has a token can neither be let in nor told
// that it is wrong.
func (f *filter) broken(err error) plugin.Verdict {
	f.log.Error("reach the tokens", "plugin", "oauth2", "error", err)
	return plugin.Deny(http.StatusInternalServerError, "").Because("tokens-unreachable")
}

// problem is why a request is refused, in the protocol's words.
type problem struct {
	code, description string
	challenge         string // WWW-Authenticate; "": none
	reason            string
}

func (f *filter) invalid(code, description, reason string) *problem {
	return &problem{code, description, f.challenge + ` error="` + code + `" error_description="` + description + `"`, reason}
}

// badToken is all that who shows a wrong token learns.
func (f *filter) badToken(reason string) *problem {
	return f.invalid("invalid_token", "The access token is invalid or has expired", reason)
}

func (p *problem) verdict(x *plugin.Exchange, status int) plugin.Verdict {
	if p.challenge != "" {
		x.Early.Set("WWW-Authenticate", p.challenge)
	}
	return exit(status, values{"error": p.code, "error_description": p.description}).Because(p.reason)
}

// authenticate finds who shows a token. A problem is why it finds nobody.
func (f *filter) authenticate(x *plugin.Exchange) (*problem, error) {
	text := f.shown(x)
	if text == "" {
		return &problem{"invalid_request", "The access token is missing", f.challenge, "no-token"}, nil
	}
	t, err := f.find(x, text)
	if err != nil {
		return nil, err
	}
	global := f.GetGlobalCredentials()
	switch {
	case t == nil:
		return f.badToken("unknown-token"), nil
	case !global && t.Service == "":
		p := f.badToken("global-token")
		p.description = "The access token is global, but the current plugin is configured without 'global_credentials'"
		return p, nil
	case t.Service != "" && t.Service != serviceOf(x):
		return f.badToken("token-of-another-service"), nil
	case t.ExpiresIn > 0 && f.now().Sub(t.Issued) > t.ExpiresIn:
		return f.badToken("expired-token"), nil
	}
	c := x.Directory.CredentialByID(plugin.OAuth2Clients, t.Credential)
	if c == nil {
		return f.badToken("unknown-client"), nil
	}
	plugin.Authenticate(x, c, c.Key)
	tell(x, t.Scope, t.User)
	return nil, nil
}

// tell tells the upstream what a token is good for, and whose it is.
func tell(x *plugin.Exchange, scope, user string) {
	for _, line := range [2][2]string{{"X-Authenticated-Scope", scope}, {"X-Authenticated-UserId", user}} {
		if line[1] == "" {
			x.Request.Header.Del(line[0])
		} else {
			x.Request.Header.Set(line[0], line[1])
		}
	}
}

// noService stands for the service of a route without one: its tokens are good there alone.
const noService = "none"

func serviceOf(x *plugin.Exchange) string {
	if x.Service == nil {
		return noService
	}
	return x.Service.ID
}

// boundTo is the service that a new token or code is good for; "": all.
func (f *filter) boundTo(x *plugin.Exchange) string {
	if f.GetGlobalCredentials() {
		return ""
	}
	return serviceOf(x)
}

// secure reports whether the client reached the gate by TLS, or a proxy that is believed.
func (f *filter) secure(x *plugin.Exchange) bool {
	return x.Request.Scheme == "https" || f.GetAcceptHttpIfAlreadyTerminated() && x.Request.ForwardedProto == "https"
}

// scope holds the scopes that are asked for against those there are.
func (f *filter) scope(asked param) (string, *problem) {
	switch {
	case asked.there && len(f.GetScopes()) > 0:
		if !asked.text {
			return "", &problem{code: "invalid_scope", description: "scope must be a string", reason: "invalid-scope"}
		}
		words := strings.Fields(asked.value)
		for _, word := range words {
			if !slices.Contains(f.GetScopes(), word) {
				return "", &problem{code: "invalid_scope", description: `"` + word + `" is an invalid scope`, reason: "invalid-scope"}
			}
		}
		return strings.Join(words, " "), nil
	case !asked.there && f.GetMandatoryScope():
		return "", &problem{code: "invalid_scope", description: "You must specify a scope", reason: "no-scope"}
	}
	return "", nil
}
