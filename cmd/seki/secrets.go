package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/store"
)

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

// openAuthority opens the authority of the nodes' certificates.
func (p *process) openAuthority(ctx context.Context, st store.Store, keys *keyring.Keyring) (*authority.Authority, error) {
	return authority.Open(ctx, authority.Options{Store: st, Sealer: keys, Now: time.Now, Log: p.log})
}
