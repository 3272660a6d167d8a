package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

const (
	bundleKind = "authority"
	bundleID   = "ca"
)

// stored is an authority as it is in the store.
type stored struct {
	Certificate []byte
	Key         []byte     `json:",omitempty"` // sealed; gone once it no longer signs
	Cross       []byte     `json:",omitempty"` // its certificate as signed by the one before
	Until       *time.Time `json:",omitempty"` // when the last certificate that it signed is worthless
}

// ca is one authority, read.
type ca struct {
	cert  *x509.Certificate
	cross *x509.Certificate
	key   *ecdsa.PrivateKey
	until time.Time // zero: it signs
}

// bundle is the authorities that are honoured, that which signs first.
type bundle struct {
	all     []ca
	version uint64
}

// forgets reports whether an authority of b is not in next. A nil bundle has none.
func (b *bundle) forgets(next *bundle) bool {
	if b == nil {
		return false
	}
	return slices.ContainsFunc(b.all, func(was ca) bool {
		return !slices.ContainsFunc(next.all, func(c ca) bool { return c.cert.Equal(was.cert) })
	})
}

// roots are all authorities, to judge by.
func (b *bundle) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range b.all {
		pool.AddCert(c.cert)
	}
	return pool
}

// chain is what a control plane shows behind its certificate: how each authority follows from
// the one before, for nodes that know only an older one; and the authorities themselves, for
// those that know one by its digest.
func (b *bundle) chain() [][]byte {
	var chain [][]byte
	for _, c := range b.all {
		if c.cross != nil {
			chain = append(chain, c.cross.Raw)
		}
	}
	return append(chain, b.certificates()...)
}

func (b *bundle) certificates() [][]byte {
	all := make([][]byte, len(b.all))
	for i, c := range b.all {
		all[i] = c.cert.Raw
	}
	return all
}

// readBundle reads the authorities, or makes the first.
func (a *Authority) readBundle(ctx context.Context) (*bundle, error) {
	var b *bundle
	err := retry(func() error {
		r, err := a.record(ctx, bundleKind, bundleID)
		if err != nil {
			return err
		}
		if r.Version == 0 {
			first, err := a.makeCA(nil)
			if err != nil {
				return err
			}
			if r, err = a.writeBundle(ctx, r, []stored{first}); err != nil {
				return err
			}
		}
		b, err = a.parseBundle(ctx, r)
		return err
	})
	return b, err
}

func (a *Authority) writeBundle(ctx context.Context, r store.Record, list []stored) (store.Record, error) {
	body, err := json.Marshal(list)
	if err != nil {
		return r, err
	}
	r.Body = body
	if err := a.Store.Write(ctx, []store.Record{r}); err != nil {
		return r, fmt.Errorf("write authority: %w", err)
	}
	r.Version++
	return r, nil
}

func (a *Authority) parseBundle(ctx context.Context, r store.Record) (*bundle, error) {
	known := a.current()
	var list []stored
	if err := json.Unmarshal(r.Body, &list); err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	b := &bundle{version: r.Version}
	for _, s := range list {
		if s.Until != nil && s.Until.Before(a.Now()) {
			continue
		}
		if known != nil && known.version == r.Version && len(b.all) < len(known.all) {
			b.all = append(b.all, known.all[len(b.all)]) // those that end are the last
			continue
		}
		c, err := a.parseCA(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("read authority: %w", err)
		}
		b.all = append(b.all, c)
	}
	if len(b.all) == 0 || b.all[0].key == nil {
		return nil, fmt.Errorf("read authority: none has a key")
	}
	return b, nil
}

func (a *Authority) parseCA(ctx context.Context, s stored) (c ca, err error) {
	if c.cert, err = x509.ParseCertificate(s.Certificate); err != nil {
		return c, err
	}
	if s.Cross != nil {
		if c.cross, err = x509.ParseCertificate(s.Cross); err != nil {
			return c, err
		}
	}
	if s.Until != nil {
		c.until = *s.Until
		return c, nil
	}
	der, err := a.Sealer.Open(ctx, keyName(c.cert), s.Key)
	if err != nil {
		return c, err
	}
	c.key, err = x509.ParseECPrivateKey(der)
	return c, err
}

func keyName(c *x509.Certificate) string { return "authority/" + digestOf(c) }

// makeCA makes an authority; before, when there is one, vouches for it.
func (a *Authority) makeCA(before *ca) (stored, error) {
	key, err := newKey()
	if err != nil {
		return stored{}, err
	}
	serial := newSerial()
	now := a.Now()
	t := &x509.Certificate{
		SerialNumber: serial,
		// The name is another one for each, or a chain could not tell them apart.
		Subject:   pkix.Name{Organization: []string{"Sekifuda"}, CommonName: "Sekifuda CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore: now.Add(-early), NotAfter: now.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs: []*url.URL{a.uri()},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return stored{}, fmt.Errorf("make authority: %w", err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return stored{}, fmt.Errorf("make authority: %w", err)
	}
	s := stored{Certificate: der}
	if before != nil {
		if s.Cross, err = x509.CreateCertificate(rand.Reader, t, before.cert, key.Public(), before.key); err != nil {
			return stored{}, fmt.Errorf("cross-sign authority: %w", err)
		}
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return stored{}, err
	}
	s.Key = a.Sealer.Seal(keyName(made), raw)
	return s, nil
}

// Rotate makes a new authority. The one before signs no more; what it signed is honoured
// until it has run out, unless it is forgotten at once.
func (a *Authority) Rotate(ctx context.Context, forget bool) error {
	err := retry(func() error {
		r, err := a.record(ctx, bundleKind, bundleID)
		if err != nil {
			return err
		}
		b, err := a.parseBundle(ctx, r)
		if err != nil {
			return err
		}
		before := &b.all[0]
		if forget {
			before = nil
		}
		made, err := a.makeCA(before)
		if err != nil {
			return err
		}
		list := []stored{made}
		if !forget {
			var old []stored
			if err := json.Unmarshal(r.Body, &old); err != nil {
				return err
			}
			until := a.Now().Add(Lifetime + Grace)
			old[0].Key, old[0].Until = nil, &until
			list = append(list, old...)
		}
		_, err = a.writeBundle(ctx, r, list)
		return err
	})
	if err != nil {
		return fmt.Errorf("rotate authority: %w", err)
	}
	return a.refresh(ctx)
}

// Info is one authority as operators see it.
type Info struct {
	Digest              string
	NotBefore, NotAfter time.Time
	Signing             bool
	KeptUntil           time.Time
}

// Authorities lists those that are honoured, that which signs first.
func (a *Authority) Authorities() []Info {
	var list []Info
	for _, c := range a.current().all {
		list = append(list, Info{
			Digest: digestOf(c.cert), NotBefore: c.cert.NotBefore, NotAfter: c.cert.NotAfter,
			Signing: c.until.IsZero(), KeptUntil: c.until,
		})
	}
	return list
}

// uri names something of the cluster.
func (a *Authority) uri(path ...string) *url.URL {
	u := &url.URL{Scheme: "spiffe", Host: a.cluster}
	return u.JoinPath(path...)
}

// newSerial is 127 random bits, never few.
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

func hexDigest(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}
