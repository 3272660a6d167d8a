package graph

import (
	"crypto/sha256"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// tokenKey is by what a token is found: who times answers learns nothing of others.
func tokenKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

func takeToken(e *edit, c *Change) {
	old, ok := e.tokens.Get(c.ID)
	if !ok {
		return
	}
	e.tokens.Delete(c.ID)
	for _, text := range []string{old.Access, old.Refresh} {
		if text != "" {
			e.tokenIDs.Delete(tokenKey(text))
		}
	}
}

func putToken(e *edit, c *Change) {
	m := &entityv1.Oauth2Token{}
	if !e.decode(c, m) {
		return
	}
	t := &plugin.Token{
		ID: c.ID, Credential: m.GetCredential(), Service: m.GetService(), Access: m.GetAccessToken(), Refresh: m.GetRefreshToken(),
		User: m.GetAuthenticatedUserid(), Scope: m.GetScope(), Issued: time.Unix(m.GetCreatedAt(), 0),
		ExpiresIn: time.Duration(m.GetExpiresIn()) * time.Second,
	}
	if m.GetExpiresAt() != 0 {
		t.Ends = time.Unix(m.GetExpiresAt(), 0)
	}
	for field, text := range map[string]string{"access_token": t.Access, "refresh_token": t.Refresh} {
		if text == "" {
			continue
		}
		if holder, taken := e.tokenIDs.Get(tokenKey(text)); taken {
			e.refuse(c.Kind, c.ID, field, "is already taken by oauth2_tokens/"+holder)
			return
		}
		e.tokenIDs.Set(tokenKey(text), c.ID)
	}
	e.tokens.Set(c.ID, t)
}

// Token implements plugin.Directory.
func (d *directory) Token(accessOrRefresh string) *plugin.Token {
	id, ok := d.tokenIDs.Get(tokenKey(accessOrRefresh))
	if !ok {
		return nil
	}
	t, ok := d.tokens.Get(id)
	if !ok || !t.Ends.IsZero() && !d.now().Before(t.Ends) {
		return nil
	}
	return t
}
