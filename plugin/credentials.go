package plugin

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // Kong's stored form, honoured until the password is set again
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/password"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// Kinds of credentials, as Directory.Credential takes them.
const (
	KeyCredentials   = "keyauth_credentials"
	BasicCredentials = "basicauth_credentials"
	HMACCredentials  = "hmacauth_credentials"
	JWTCredentials   = "jwt_secrets"
	OAuth2Clients    = "oauth2_credentials"
)

// BasicSecret is the Secret of a "basicauth_credentials" credential. Immutable.
type BasicSecret struct {
	hash  *password.Hash // nil: only the older form is there
	sha1  [sha1.Size]byte
	owner string // id of the consumer, which the older form holds
}

// Slow reports whether Matches takes tens of milliseconds and megabytes. What was found is
// then worth remembering.
func (s *BasicSecret) Slow() bool { return s.hash != nil }

// AppendTo appends what tells the stored form from all others, also from the same password
// set again. It is for keys of caches.
func (s *BasicSecret) AppendTo(b []byte) []byte {
	if s.hash != nil {
		return s.hash.AppendTo(b)
	}
	return append(append(b, s.sha1[:]...), s.owner...)
}

// Matches holds a password against what is stored.
func (s *BasicSecret) Matches(given string) bool {
	if s.hash != nil {
		return s.hash.Matches(given)
	}
	var room [128]byte
	sum := sha1.Sum(append(append(room[:0], given...), s.owner...)) //nolint:gosec // see above
	return subtle.ConstantTimeCompare(sum[:], s.sha1[:]) == 1
}

// HMACSecret is the Secret of an "hmacauth_credentials" credential. Immutable.
type HMACSecret struct {
	Secret string
}

// JWTSecret is the Secret of a "jwt_secrets" credential. Immutable.
type JWTSecret struct {
	Algorithm string           // "HS256", "RS512", ...
	Secret    string           // of HS256, HS384 and HS512, as it is stored
	Public    crypto.PublicKey // of all others
}

// OAuth2Client is the Secret of an "oauth2_credentials" credential. Immutable.
type OAuth2Client struct {
	Name         string
	RedirectURIs []string
	Public       bool // it cannot keep a secret

	secret string
	hashed bool
}

// Matches holds a secret against that of the application. It may take some milliseconds.
func (c *OAuth2Client) Matches(given string) bool {
	if c.hashed {
		return password.MatchesPBKDF2(c.secret, given)
	}
	return subtle.ConstantTimeCompare([]byte(c.secret), []byte(given)) == 1
}

// CredentialOf reads a credential entity of a kind: the key that finds it, and what its
// plugin needs to verify a request with (nil for keyauth_credentials, where the key says
// all). It is pure; the error names the field.
func CredentialOf(kind string, m proto.Message) (key string, secret any, err error) {
	switch m := m.(type) {
	case *entityv1.KeyauthCredential:
		return m.GetKey(), nil, nil
	case *entityv1.BasicauthCredential:
		secret, err = basicSecret(m)
		return m.GetUsername(), secret, err
	case *entityv1.HmacauthCredential:
		return m.GetUsername(), &HMACSecret{Secret: m.GetSecret()}, nil
	case *entityv1.Oauth2Credential:
		return m.GetClientId(), &OAuth2Client{
			Name: m.GetName(), RedirectURIs: m.GetRedirectUris(), Public: m.GetClientType() == "public",
			secret: m.GetClientSecret(), hashed: m.GetHashSecret(),
		}, nil
	case *entityv1.JwtSecret:
		secret, err = jwtSecret(m)
		return m.GetKey(), secret, err
	}
	return "", nil, fmt.Errorf("read credential: kind %s of %T is not known", kind, m)
}

func basicSecret(m *entityv1.BasicauthCredential) (*BasicSecret, error) {
	s := &BasicSecret{owner: m.GetConsumer()}
	if stored := m.GetPasswordHash(); stored != "" {
		var err error
		if s.hash, err = password.Parse(stored); err != nil {
			return nil, fmt.Errorf("password_hash: %w", err)
		}
		return s, nil
	}
	sum, err := hex.DecodeString(m.GetPassword())
	if err != nil || len(sum) != len(s.sha1) {
		return nil, errors.New("password: expected 40 hexadecimal digits")
	}
	copy(s.sha1[:], sum)
	return s, nil
}

func jwtSecret(m *entityv1.JwtSecret) (*JWTSecret, error) {
	s := &JWTSecret{Algorithm: m.GetAlgorithm(), Secret: m.GetSecret()}
	if s.Algorithm == "" {
		s.Algorithm = "HS256"
	}
	if strings.HasPrefix(s.Algorithm, "HS") {
		return s, nil
	}
	var err error
	if s.Public, err = model.ParsePublicKey(m.GetRsaPublicKey()); err != nil {
		return nil, fmt.Errorf("rsa_public_key: %w", err)
	}
	return s, nil
}
