package plugin_test

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/password"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func TestBasicCredentialMatchesEitherForm(t *testing.T) {
	t.Parallel()
	sum := sha1.Sum([]byte("s3cret" + "owner-id"))
	old := &entityv1.BasicauthCredential{
		Username: proto.String("bob"), Consumer: proto.String("owner-id"),
		Password: proto.String(hex.EncodeToString(sum[:])),
	}
	both := proto.Clone(old).(*entityv1.BasicauthCredential)
	both.PasswordHash = proto.String(password.New("newer"))
	for _, tt := range []struct {
		name       string
		credential *entityv1.BasicauthCredential
		good, bad  string
		slow       bool
	}{
		{"sha1", old, "s3cret", "newer", false},
		// The older form says nothing once there is a newer one.
		{"argon2id", both, "newer", "s3cret", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, secret, err := plugin.CredentialOf(plugin.BasicCredentials, tt.credential)
			if err != nil || key != "bob" {
				t.Fatalf("CredentialOf = %q, %v", key, err)
			}
			s := secret.(*plugin.BasicSecret)
			if s.Slow() != tt.slow || !s.Matches(tt.good) || s.Matches(tt.bad) || s.Matches("") {
				t.Errorf("Slow, Matches(good), Matches(bad), Matches(\"\") = %v %v %v %v",
					s.Slow(), s.Matches(tt.good), s.Matches(tt.bad), s.Matches(""))
			}
		})
	}
}

func TestCredentialOf(t *testing.T) {
	t.Parallel()
	if key, secret, err := plugin.CredentialOf(plugin.KeyCredentials, &entityv1.KeyauthCredential{Key: proto.String("k")}); key != "k" || secret != nil || err != nil {
		t.Errorf("keyauth = %q, %v, %v", key, secret, err)
	}
	key, secret, err := plugin.CredentialOf(plugin.HMACCredentials, &entityv1.HmacauthCredential{Username: proto.String("u"), Secret: proto.String("s")})
	if h, ok := secret.(*plugin.HMACSecret); key != "u" || err != nil || !ok || h.Secret != "s" {
		t.Errorf("hmac = %q, %v, %v", key, secret, err)
	}
	key, secret, err = plugin.CredentialOf(plugin.JWTCredentials, &entityv1.JwtSecret{Key: proto.String("k"), Secret: proto.String("s")})
	if j, ok := secret.(*plugin.JWTSecret); key != "k" || err != nil || !ok || j.Algorithm != "HS256" || j.Secret != "s" {
		t.Errorf("jwt = %q, %v, %v", key, secret, err)
	}
}

func TestCredentialOfNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind string
		m    proto.Message
		want string
	}{
		{plugin.BasicCredentials, &entityv1.BasicauthCredential{Password: proto.String("plain")}, "password: expected 40"},
		{plugin.BasicCredentials, &entityv1.BasicauthCredential{PasswordHash: proto.String("$argon2id$")}, "password_hash"},
		{plugin.JWTCredentials, &entityv1.JwtSecret{Algorithm: proto.String("RS256")}, "rsa_public_key: no PEM"},
		{"routes", &entityv1.Route{}, "is not known"},
	} {
		if _, _, err := plugin.CredentialOf(tt.kind, tt.m); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CredentialOf(%s, %v) = %v, want %q in it", tt.kind, tt.m, err, tt.want)
		}
	}
}
