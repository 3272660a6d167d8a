package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/controlplane"
	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sealed"
	"github.com/sekifuda/sekifuda/model/schema"
)

// secure opens what keeps secrets, and who may join, over a store.
func (p *process) secure(ctx context.Context, st store.Store, s *officeSettings, o *controlplane.Options) (err error) {
	log := guard.NewAudit(st, time.Now)
	st = guard.NewNoted(st, time.Now)
	if o.Keys, err = p.openKeyring(ctx, st, s); err != nil {
		return err
	}
	if o.Pepper, err = sealedSecret(ctx, st, o.Keys, "pepper"); err != nil {
		return err
	}
	if s.databaseURL != "" {
		if o.ReplicaSecret, err = sealedSecret(ctx, st, o.Keys, "replicas"); err != nil {
			return err
		}
	}
	if o.Store, err = p.sealStore(ctx, st, o.Keys); err != nil {
		return err
	}
	if o.Guard, err = p.guard(s, log); err != nil {
		return err
	}
	if o.AdminTLS, err = p.adminTLS(s); err != nil {
		return err
	}
	o.Authority, err = authority.Open(ctx, authority.Options{Store: st, Sealer: o.Keys, Now: time.Now, Log: p.log})
	return err
}

// openKeyring opens the keys of secrets at rest.
func (p *process) openKeyring(ctx context.Context, st store.Store, s *officeSettings) (*keyring.Keyring, error) {
	keys, err := p.keyEncryptionKeys(ctx, st, s)
	if err != nil {
		return nil, err
	}
	return keyring.Open(ctx, st, keys)
}

// keyEncryptionKeys finds the keys that wrap the data keys. A PostgreSQL is shared and is
// backed up by itself: without a key from outside, the key lies in the database, so that what
// is restored from a dump can be read; the operator is told what that is worth. Later, when a
// key is given, the one in the database still opens what it wrapped.
func (p *process) keyEncryptionKeys(ctx context.Context, st store.Store, s *officeSettings) ([]keyring.Key, error) {
	var keys []keyring.Key
	var err error
	env := p.call.getenv("SEKI_KEK")
	switch {
	case s.kekFile != "":
		if keys, err = keyring.ReadFile(s.kekFile); err != nil {
			return nil, fmt.Errorf("--kek-file: %w", err)
		}
	case env != "":
		if keys, err = keyring.ParseKeys([]byte(env)); err != nil {
			return nil, fmt.Errorf("SEKI_KEK: %w", err)
		}
	case s.databaseURL == "":
		if keys, err = keyring.KeptFile(filepath.Join(p.dataDir, "kek")); err != nil {
			return nil, fmt.Errorf("key-encryption key: %w", err)
		}
	}
	if s.databaseURL == "" {
		return keys, nil
	}
	inside, err := st.Secret(ctx, "kek", keyring.NewRaw())
	if err != nil {
		return nil, fmt.Errorf("read key-encryption key: %w", err)
	}
	last, err := keyring.NewKey(inside)
	if err != nil {
		return nil, fmt.Errorf("read key-encryption key: %w", err)
	}
	if len(keys) == 0 {
		p.log.Warn("the key of secrets lies in the database beside them: who can read the database can read them; --kek-file keeps it apart")
	}
	return append(keys, last), nil
}

// sealedSecret is a secret of the cluster that lies sealed in the database, made at the first
// start.
func sealedSecret(ctx context.Context, st store.Store, keys *keyring.Keyring, name string) ([]byte, error) {
	box, err := st.Secret(ctx, name, keys.Seal("secret/"+name, keyring.NewRaw()))
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", name, err)
	}
	return keys.Open(ctx, "secret/"+name, box)
}

// sealStore returns the store under which what the tables call secret is sealed.
func (p *process) sealStore(ctx context.Context, st store.Store, keys *keyring.Keyring) (store.Store, error) {
	pepper, err := sealedSecret(ctx, st, keys, "index-pepper")
	if err != nil {
		return nil, err
	}
	secret := map[string]bool{}
	for _, t := range p.schema.Tables() {
		secret[t.Kind] = slices.ContainsFunc(t.Fields, holdsSecret)
	}
	return sealed.New(st, sealed.Options{
		Sealer: keys, Pepper: pepper,
		Kind: func(kind string) bool { return secret[kind] },
		Index: func(kind, index string) bool {
			t := p.schema.Table(kind)
			return t != nil && t.Field(index) != nil && t.Field(index).Secret()
		},
	}), nil
}

// holdsSecret reports whether a field, or one inside it, is secret. Of a record whose type the
// entity's name chooses nobody knows.
func holdsSecret(f *schema.Field) bool {
	if f == nil {
		return false
	}
	return f.Secret() || f.Abstract || holdsSecret(f.Elements) || holdsSecret(f.Values) || slices.ContainsFunc(f.Fields, holdsSecret)
}

// guard makes who stands before the Admin API.
func (p *process) guard(s *officeSettings, log guard.Log) (*guard.Guard, error) {
	// A key may be blocked by the key itself: /sekifuda/blocks/key/KEY.
	o := guard.Options{Log: log, Secret: map[string]bool{"key": true}, Errors: p.log}
	for _, t := range p.schema.Tables() {
		if f := t.Field(t.Key); f != nil && f.Secret() {
			o.Secret[t.Path], o.Secret[t.NestedPath], o.Secret[t.Kind] = true, true, true
		}
	}
	if s.adminTokens != "" {
		tokens, err := guard.ReadTokens(s.adminTokens)
		if err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
		if tokens.Certificates() && s.adminFiles.Clients == "" {
			return nil, errors.New("--admin-token-file: a line with cert: needs --admin-client-ca")
		}
		if err := p.areKinds(tokens.Kinds()); err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
		o.Tokens = tokens
		p.rereadOnHangUp("who may use the Admin API", tokens.Reload)
	}
	if s.oidcIssuer != "" {
		roles, err := guard.ParseRoles(s.oidcRoles)
		if err != nil {
			return nil, fmt.Errorf("--admin-oidc-roles: %w", err)
		}
		for _, g := range roles {
			for _, sc := range g.Scopes {
				if err := p.areKinds(sc.Kinds); err != nil {
					return nil, fmt.Errorf("--admin-oidc-roles: %w", err)
				}
			}
		}
		o.OIDC, err = guard.NewOIDC(guard.OIDCOptions{
			Issuer: s.oidcIssuer, Audience: s.oidcAudience, NameClaim: s.oidcName, RoleClaim: s.oidcRole, Roles: roles,
			Client: &http.Client{Timeout: oidcTimeout}, Now: time.Now,
		})
		if err != nil {
			return nil, fmt.Errorf("--admin-oidc-issuer, --admin-oidc-audience: %w", err)
		}
	}
	return guard.New(o), nil
}

// areKinds refuses a limit to a kind that does not exist.
func (p *process) areKinds(kinds []string) error {
	for _, k := range kinds {
		if p.schema.Table(k) == nil {
			return fmt.Errorf("kinds=%s: there are no entities of this kind", k)
		}
	}
	return nil
}

// oidcTimeout bounds one question to the issuer of tokens.
const oidcTimeout = 5 * time.Second

// adminTLS is what the Admin API speaks TLS by; nil: it speaks without.
func (p *process) adminTLS(s *officeSettings) (func(...string) *tls.Config, error) {
	if s.adminFiles.Certificate == "" {
		return nil, nil
	}
	c, err := guard.ReadCertificates(s.adminFiles, time.Now, p.log)
	if err != nil {
		return nil, err
	}
	p.rereadOnHangUp("the certificate of the Admin API", c.Reload)
	return c.TLS, nil
}

// rereadOnHangUp has a file read anew at every SIGHUP; one that is bad changes nothing.
func (p *process) rereadOnHangUp(what string, reload func() error) {
	p.hangUp.on(what, func() {
		if err := reload(); err != nil {
			p.log.Error(what+" stays as it was", "error", err)
			return
		}
		notice(context.Background(), p.log, what+" was read anew")
	})
}
