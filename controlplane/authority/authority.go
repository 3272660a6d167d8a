// Package authority decides which nodes belong to the fleet: it is the cluster's certificate
// authority, hands out join tokens, gives nodes their certificates, and knows who is denied.
//
// It knows certificates, tokens and names of nodes; it does not know configuration, streams
// or what a group is for. What it keeps is in the store, so that every replica is the same
// authority; the keys in it are sealed. Enter at Open; Credentials, Intercept and Service put
// it before a feed server.
package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Times of certificates.
const (
	Lifetime = 24 * time.Hour     // of a node's and of a control plane's certificate
	Grace    = 7 * 24 * time.Hour // how long an expired node may still renew
	early    = 5 * time.Minute    // clocks may be so far apart
	caYears  = 10
)

// refreshEvery is how often a replica looks what the others did: who was denied, whether the
// authority changed.
const refreshEvery = time.Second

// Store keeps what every replica must know.
type Store interface {
	Secret(ctx context.Context, name string, fresh []byte) ([]byte, error)
	Records(ctx context.Context, kind string) ([]store.Record, error)
	Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error
}

// Sealer keeps private keys unreadable in the store.
type Sealer interface {
	Seal(name string, plain []byte) []byte
	Open(ctx context.Context, name string, sealed []byte) ([]byte, error)
}

// Options are what an authority is made of.
type Options struct {
	Store  Store
	Sealer Sealer
	Now    func() time.Time
	Log    *slog.Logger
}

// Authority is the cluster's authority. All methods may be called concurrently.
type Authority struct {
	Options
	cluster string
	lines   lines

	mu     sync.RWMutex
	bundle *bundle
	denied map[string]Denial
	server *tls.Certificate
}

// Open reads the authority, or makes it on the cluster's first start.
func Open(ctx context.Context, o Options) (*Authority, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cluster, err := o.Store.Secret(ctx, "cluster", []byte(uuid.NewString()))
	if err != nil {
		return nil, fmt.Errorf("read the cluster's name: %w", err)
	}
	a := &Authority{Options: o, cluster: string(cluster)}
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Cluster is the cluster's name, which is in every certificate.
func (a *Authority) Cluster() string { return a.cluster }

// Run looks what other replicas did, until ctx ends. An outage of the store leaves things as
// they were.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := a.refresh(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			a.Log.WarnContext(ctx, "authority is not refreshed; who was denied stays so", "error", err)
		}
		failing = err != nil
	}
}

// refresh reads the authority and who is denied, and cuts off who is so now.
func (a *Authority) refresh(ctx context.Context) error {
	b, err := a.readBundle(ctx)
	if err != nil {
		return err
	}
	denied, err := a.readDenied(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	forgot := a.bundle.forgets(b)
	if a.bundle == nil || b.version != a.bundle.version || len(b.all) != len(a.bundle.all) {
		a.bundle, a.server = b, nil
	}
	var cut []string
	for id := range denied {
		if _, was := a.denied[id]; !was {
			cut = append(cut, id)
		}
	}
	a.denied = denied
	a.mu.Unlock()
	if forgot {
		a.lines.cutAll() // those that are still good come back
	}
	for _, id := range cut {
		a.lines.cut(id)
	}
	return nil
}

func (a *Authority) current() *bundle {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.bundle
}

// retry does a read and a write again when another replica wrote between.
func retry(do func() error) error {
	var conflict *store.ConflictError
	for try := 0; ; try++ {
		err := do()
		if !errors.As(err, &conflict) || try == 20 {
			return err
		}
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// record finds one record of a kind; without it the zero version says so.
func (a *Authority) record(ctx context.Context, kind, id string) (store.Record, error) {
	all, err := a.Store.Records(ctx, kind)
	if err != nil {
		return store.Record{}, fmt.Errorf("read %s: %w", kind, err)
	}
	for _, r := range all {
		if r.ID == id {
			return r, nil
		}
	}
	return store.Record{Kind: kind, ID: id}, nil
}

func digestOf(c *x509.Certificate) string { return hexDigest(c.Raw) }
