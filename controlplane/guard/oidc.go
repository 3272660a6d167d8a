package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Times and bounds of what is asked of an issuer.
const (
	issuerTimeout = 5 * time.Second
	issuerRetry   = 2 * time.Second // after it did not answer
)

// algorithms are by what a token may be signed: those of keys whose public half is enough to
// verify. What the token says of itself chooses among them and adds none.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// OIDCOptions are whose tokens are taken, and what they make of somebody.
type OIDCOptions struct {
	Issuer    string
	Audience  string
	NameClaim string // such as "email"; without it, or when a token has none: "sub"
	RoleClaim string // a text or a list of texts; its parts are separated by dots
	// Roles are what the values of the claim mean; nil: they are the names of roles.
	Roles  map[string]Grant
	Client *http.Client // nil: http.DefaultClient
	Now    func() time.Time
}

// OIDC takes the tokens of an issuer of OpenID Connect. The issuer is asked for its keys when a
// token comes, and again when one is signed by a key that is new. All methods may be called
// concurrently.
type OIDC struct {
	OIDCOptions

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the issuer has answered once
	tried    time.Time
	err      error // of that try
}

// NewOIDC returns an OIDC that has asked nobody yet.
func NewOIDC(o OIDCOptions) (*OIDC, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, fmt.Errorf("issuer %q: expected an https URL", o.Issuer)
	}
	if o.Audience == "" {
		return nil, errors.New("an audience is needed: a token that was meant for somebody else is not for us")
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	return &OIDC{OIDCOptions: o}, nil
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// who tells whose a token is, or why it is not taken: a *refusal.
func (o *OIDC) who(ctx context.Context, token string) (person, error) {
	if strings.Count(token, ".") != 2 {
		return person{}, &refusal{unknown, "the token is none of --admin-token-file, and no JWT of " + o.Issuer}
	}
	v, err := o.discovered(ctx)
	if err != nil {
		return person{}, &refusal{unreachable, fmt.Sprintf("the issuer %s does not answer: %v", o.Issuer, err)}
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, o.Client), issuerTimeout)
	defer cancel()
	t, err := v.Verify(ctx, token)
	if err != nil {
		return person{}, o.refused(ctx, err)
	}
	claims := map[string]any{}
	if err := t.Claims(&claims); err != nil {
		return person{}, &refusal{unknown, "the token's claims cannot be read: " + err.Error()}
	}
	who := o.granted(claims).person(t.Subject)
	if name, ok := claims[o.NameClaim].(string); ok && name != "" {
		who.name = name
	}
	if who.role == Nobody {
		return who, &refusal{forbidden, fmt.Sprintf("%s has no role here: the claim %s of the token names none", who.name, o.RoleClaim)}
	}
	return who, nil
}

// refused words why a token is not taken. Keys that cannot be fetched are the issuer's fault.
func (o *OIDC) refused(ctx context.Context, err error) error {
	var expired *oidc.TokenExpiredError
	switch text := err.Error(); {
	case errors.As(err, &expired):
		return &refusal{unknown, "the token expired at " + expired.Expiry.UTC().Format(time.RFC3339)}
	case ctx.Err() != nil, strings.Contains(text, "fetching keys"):
		return &refusal{unreachable, fmt.Sprintf("the keys of the issuer %s cannot be read: %v", o.Issuer, err)}
	default:
		return &refusal{unknown, "the token is not taken (" + strings.TrimPrefix(text, "oidc: ") + ")"}
	}
}

// discovered asks the issuer where its keys are, once; not at every call while it does not answer.
func (o *OIDC) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	if o.err != nil && o.Now().Sub(o.tried) < issuerRetry {
		return nil, o.err
	}
	// What is made here serves later calls too: it must not end with this one.
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), o.Client), issuerTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, o.Issuer)
	if err != nil {
		o.tried, o.err = o.Now(), err
		return nil, err
	}
	keys, err := keySet(provider, o.Client)
	if err != nil {
		o.tried, o.err = o.Now(), err
		return nil, err
	}
	o.verifier, o.err = oidc.NewVerifier(o.Issuer, keys, &oidc.Config{ClientID: o.Audience, SupportedSigningAlgs: algorithms, Now: o.Now}), nil
	return o.verifier, nil
}

// keySet fetches keys without the deadline of discovery.
func keySet(p *oidc.Provider, client *http.Client) (oidc.KeySet, error) {
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&found); err != nil {
		return nil, err
	}
	return oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), found.Keys), nil
}

// granted is all that the claim names: the highest role counts.
func (o *OIDC) granted(claims map[string]any) (all Grant) {
	var at any = claims
	for part := range strings.SplitSeq(o.RoleClaim, ".") {
		m, _ := at.(map[string]any)
		at = m[part]
	}
	list, _ := at.([]any)
	if text, ok := at.(string); ok {
		list = []any{text}
	}
	for _, v := range list {
		name, _ := v.(string)
		if o.Roles != nil {
			all = all.and(o.Roles[name])
		} else {
			all = all.and(Grant{Role: roles[name]})
		}
	}
	return all
}
