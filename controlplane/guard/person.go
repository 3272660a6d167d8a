package guard

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/sekifuda/sekifuda/controlplane/store/scope"
)

// person is who asks, and what they may.
type person struct {
	name string // as proven; "" when nobody was asked
	role Role
	// scopes limit what they write, each by itself; none: nothing does.
	scopes []scope.Scope
}

type personKey struct{}

// Name is who asks, as proven; "" when nobody was asked.
func Name(ctx context.Context) string {
	p, _ := ctx.Value(personKey{}).(person)
	return p.name
}

// SeesSecrets reports whether who asks may see secrets: not those who may only look, who are
// asked for nothing that they need them for.
func SeesSecrets(ctx context.Context) bool {
	p, known := ctx.Value(personKey{}).(person)
	return !known || p.role > Viewer
}

func known(ctx context.Context, p person) context.Context {
	return context.WithValue(scope.With(ctx, p.scopes), personKey{}, p)
}

// proof is what somebody shows of who they are.
type proof struct {
	token       string
	certificate *x509.Certificate // that was verified; nil: none
}

// refusal is a no, in the words of who asks.
type refusal struct {
	kind refusalKind
	text string
}

type refusalKind int

const (
	unknown     refusalKind = iota // who they are
	forbidden                      // they may not
	unreachable                    // who could tell is not there
)

func (r *refusal) Error() string { return r.text }

// admit tells who asks, and whether they may: else a *refusal.
func (g *Guard) admit(ctx context.Context, p proof, need Role) (person, error) {
	who, err := g.who(ctx, p)
	if err == nil && who.role < need {
		err = &refusal{forbidden, fmt.Sprintf("%s may not do this: it needs the role %s", who.name, need)}
	}
	return who, err
}

func (g *Guard) who(ctx context.Context, p proof) (person, error) {
	if g.Tokens == nil && g.OIDC == nil {
		return person{role: Admin}, nil
	}
	if g.Tokens != nil {
		if who, ok := g.Tokens.find(p); ok {
			return who, nil
		}
	}
	if g.OIDC != nil && p.token != "" {
		return g.OIDC.who(ctx, p.token)
	}
	return person{}, &refusal{unknown, g.wanted()}
}

// wanted says what is missing.
func (g *Guard) wanted() string {
	if g.OIDC != nil {
		return "a token of " + g.OIDC.Issuer + ", or one of --admin-token-file, is needed, as Authorization: Bearer"
	}
	return "a token of --admin-token-file is needed, as Authorization: Bearer"
}
