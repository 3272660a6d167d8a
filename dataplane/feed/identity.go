package feed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Identity is who a node is to its control plane: its key, its certificate, and the
// authorities that it believes. It lies in the node's data folder: the key in one file, made
// once; what the control plane gave in another, replaced whole.
type Identity struct {
	dir   string
	clock Clock
	key   *ecdsa.PrivateKey

	mu          sync.RWMutex
	certificate *x509.Certificate // nil: not enrolled
	authorities []*x509.Certificate
	conns       conns
}

const (
	pemKey         = "EC PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// OpenIdentity reads the identity in dir. Where there is none it makes the key; the node is
// then still to be enrolled.
func OpenIdentity(dir string, clock Clock) (*Identity, error) {
	if clock == nil {
		clock = wall{}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the identity's folder: %w", err)
	}
	i := &Identity{dir: dir, clock: clock}
	if err := i.readKey(); err != nil {
		return nil, err
	}
	return i, i.readCertificates()
}

func (i *Identity) keyPath() string          { return filepath.Join(i.dir, "key.pem") }
func (i *Identity) certificatesPath() string { return filepath.Join(i.dir, "certificates.pem") }

func (i *Identity) readKey() error {
	path := i.keyPath()
	text, err := readOwn(path)
	if errors.Is(err, fs.ErrNotExist) {
		return i.makeKey(path)
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemKey {
		return fmt.Errorf("%s: is no private key; remove %s and enrol again", path, i.dir)
	}
	if i.key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w; remove %s and enrol again", path, err, i.dir)
	}
	return nil
}

func (i *Identity) makeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	i.key = key
	return writeOwn(path, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}))
}

// readCertificates reads the node's certificate and, behind it, the authorities.
func (i *Identity) readCertificates() error {
	path := i.certificatesPath()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	if len(all) < 2 {
		return fmt.Errorf("%s: damaged; remove %s and enrol again", path, i.dir)
	}
	if err := i.take(all[0], all[1:]); err != nil {
		return fmt.Errorf("%s: %w; remove %s and enrol again", path, err, i.dir)
	}
	return nil
}

// take makes certificates the ones in use.
func (i *Identity) take(certificate []byte, authorities [][]byte) error {
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if !i.key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("certificate: is for another key")
	}
	if _, _, err := named(leaf); err != nil {
		return err
	}
	var list []*x509.Certificate
	for _, der := range authorities {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("authority: %w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return errors.New("certificate: comes without an authority")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.certificate, i.authorities = leaf, list
	return nil
}

// keep makes what the control plane gave the identity, on disk first.
func (i *Identity) keep(given *feedv1.Identity) error {
	var b bytes.Buffer
	for _, der := range append([][]byte{given.GetCertificate()}, given.GetAuthorities()...) {
		if err := pem.Encode(&b, &pem.Block{Type: pemCertificate, Bytes: der}); err != nil {
			return err
		}
	}
	probe := &Identity{key: i.key}
	if err := probe.take(given.GetCertificate(), given.GetAuthorities()); err != nil {
		return fmt.Errorf("what the control plane answered: %w", err)
	}
	if err := writeOwn(i.certificatesPath(), b.Bytes()); err != nil {
		return fmt.Errorf("keep certificate: %w", err)
	}
	return i.take(given.GetCertificate(), given.GetAuthorities())
}

// Enrolled reports whether there is a certificate, however old.
func (i *Identity) Enrolled() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.certificate != nil
}

// Node is the node's id by its certificate, and its group; empty before it enrolled.
func (i *Identity) Node() (id, group string) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.certificate != nil {
		id, group, _ = named(i.certificate) // it was read when the certificate was taken
	}
	return id, group
}

// Expires is when the certificate runs out.
func (i *Identity) Expires() time.Time {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.certificate == nil {
		return time.Time{}
	}
	return i.certificate.NotAfter
}

// Lost reports whether the certificate ran out too long ago to be renewed.
func (i *Identity) Lost() bool {
	return i.Enrolled() && i.clock.Now().After(i.Expires().Add(renewable))
}

// named reads id and group of spiffe://<cluster>/group/<group>/node/<id>.
func named(c *x509.Certificate) (id, group string, err error) {
	if len(c.URIs) == 1 {
		if p := strings.Split(c.URIs[0].Path, "/"); len(p) == 5 && p[1] == "group" && p[3] == "node" {
			return p[4], p[2], nil
		}
	}
	return "", "", errors.New("certificate: is not a node's")
}

// request is a signed request for a certificate. The names in it are the control plane's to
// give.
func (i *Identity) request() ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, i.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return csr, nil
}
