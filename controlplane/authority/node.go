package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

const identityKind = "identity"

// Identity is what is kept of a node that was given a certificate.
type Identity struct {
	Node     string `json:"-"`
	Group    string
	Key      string // digest of its public key
	Token    string // by which it joined
	Enrolled time.Time
	Expires  time.Time // of its newest certificate
}

// Issued is a node's new certificate and whom it may believe.
type Issued struct {
	Certificate []byte
	Authorities [][]byte
}

// refuse is a no that a node's operator reads.
func refuse(format string, args ...any) error {
	return status.Errorf(codes.Unauthenticated, format, args...)
}

// Enroll gives a node that has a join token its certificate.
func (a *Authority) Enroll(ctx context.Context, token, node string, csr []byte) (Issued, error) {
	if !word.MatchString(node) {
		return Issued{}, status.Error(codes.InvalidArgument, errWord("node id", node).Error())
	}
	public, err := publicKey(csr)
	if err != nil {
		return Issued{}, err
	}
	var out Issued
	err = retry(func() error {
		key := keyDigest(public)
		t, spent, err := a.spend(ctx, token, node, key)
		if err != nil {
			return err
		}
		if d, ok := a.denial(node); ok {
			return d.refusal(node)
		}
		r, was, err := a.identity(ctx, node)
		if err != nil {
			return err
		}
		if r.Version != 0 && was.Group != t.Group && a.Now().Before(was.Expires) {
			return status.Errorf(codes.AlreadyExists, "node %s: is enrolled in group %s, and the join token is for group %s; "+
				"choose another --node-id, or seki nodes revoke and allow it first", node, was.Group, t.Group)
		}
		now := a.Now()
		next := Identity{Group: t.Group, Key: key, Token: t.ID, Enrolled: now, Expires: now.Add(Lifetime)}
		if r.Body, err = json.Marshal(next); err != nil {
			return err
		}
		if out, err = a.issue(node, t.Group, public); err != nil {
			return err
		}
		return a.Store.Write(ctx, []store.Record{spent, r})
	})
	if err != nil {
		return Issued{}, err
	}
	a.Log.InfoContext(ctx, "node enrolled", "node", node)
	return out, nil
}

// Renew gives a node that proved itself by its certificate a fresh one. The key stays: a
// certificate that expired says no more than who holds it.
func (a *Authority) Renew(ctx context.Context, p Proof, csr []byte) (Issued, error) {
	if err := a.admit(p, true); err != nil {
		return Issued{}, err
	}
	public, err := publicKey(csr)
	if err != nil {
		return Issued{}, err
	}
	key := keyDigest(public)
	if key != keyDigest(p.Certificate.PublicKey.(*ecdsa.PublicKey)) {
		return Issued{}, status.Errorf(codes.InvalidArgument, "node %s: a renewal keeps the key of the certificate", p.Node)
	}
	var out Issued
	err = retry(func() error {
		r, was, err := a.identity(ctx, p.Node)
		if err != nil {
			return err
		}
		if r.Version != 0 && was.Key != key {
			return refuse("node %s: another machine was enrolled under this id at %s; choose another --node-id and enrol with a new join token",
				p.Node, was.Enrolled.UTC().Format(time.RFC3339))
		}
		if r.Version == 0 { // a database restored from before it was enrolled
			was = Identity{Group: p.Group, Key: key, Enrolled: a.Now()}
		}
		was.Expires = a.Now().Add(Lifetime)
		if r.Body, err = json.Marshal(was); err != nil {
			return err
		}
		if out, err = a.issue(p.Node, p.Group, public); err != nil {
			return err
		}
		return a.Store.Write(ctx, []store.Record{r})
	})
	return out, err
}

func (a *Authority) identity(ctx context.Context, node string) (store.Record, Identity, error) {
	r, err := a.record(ctx, identityKind, node)
	if err != nil || r.Version == 0 {
		return r, Identity{}, err
	}
	was, err := parseIdentity(r)
	return r, was, err
}

func parseIdentity(r store.Record) (Identity, error) {
	id := Identity{}
	if err := json.Unmarshal(r.Body, &id); err != nil {
		return id, fmt.Errorf("read identity of %s: %w", r.ID, err)
	}
	id.Node = r.ID
	return id, nil
}

// Identities lists the nodes that were given certificates, ascending by id.
func (a *Authority) Identities(ctx context.Context) ([]Identity, error) {
	records, err := a.Store.Records(ctx, identityKind)
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	list := make([]Identity, 0, len(records))
	for _, r := range records {
		id, err := parseIdentity(r)
		if err != nil {
			return nil, err
		}
		list = append(list, id)
	}
	return list, nil
}

// publicKey checks a request for a certificate: that it is signed by the key it is for, and
// that this is a P-256 key. What else it says is not looked at.
func publicKey(csr []byte) (*ecdsa.PublicKey, error) {
	q, err := x509.ParseCertificateRequest(csr)
	if err == nil {
		err = q.CheckSignature()
	}
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "csr: %v", err)
	}
	public, ok := q.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, status.Error(codes.InvalidArgument, "csr: the key must be ECDSA P-256")
	}
	return public, nil
}

func keyDigest(public *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "" // not for P-256
	}
	return hexDigest(der)
}

// issue signs a node's certificate.
func (a *Authority) issue(node, group string, public *ecdsa.PublicKey) (Issued, error) {
	b := a.current()
	der, err := a.sign(b, a.uri("group", group, "node", node), public, x509.ExtKeyUsageClientAuth)
	return Issued{Certificate: der, Authorities: b.certificates()}, err
}

func (a *Authority) sign(b *bundle, uri *url.URL, public *ecdsa.PublicKey, uses ...x509.ExtKeyUsage) ([]byte, error) {
	now := a.Now()
	t := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{Organization: []string{"Sekifuda"}},
		NotBefore: now.Add(-early), NotAfter: now.Add(Lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
		BasicConstraintsValid: true, URIs: []*url.URL{uri},
	}
	signer := &b.all[0]
	der, err := x509.CreateCertificate(rand.Reader, t, signer.cert, public, signer.key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", uri, err)
	}
	return der, nil
}

// nodeOf reads who a certificate is for.
func (a *Authority) nodeOf(c *x509.Certificate) (node, group string, err error) {
	if len(c.URIs) != 1 {
		return "", "", errors.New("it names nobody")
	}
	u := c.URIs[0]
	parts := strings.Split(u.Path, "/")
	if u.Scheme != "spiffe" || len(parts) != 5 || !slices.Equal([]string{parts[0], parts[1], parts[3]}, []string{"", "group", "node"}) {
		return "", "", fmt.Errorf("%s is no node", u)
	}
	if u.Host != a.cluster {
		return "", "", fmt.Errorf("%s is of another cluster than %s", u, a.cluster)
	}
	return parts[4], parts[2], nil
}
