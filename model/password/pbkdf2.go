package password

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// What a secret of an application costs: Kong 3.9.1's parameters, because its hashes go both
// ways. Such secrets are random as a rule.
const (
	pbkdf2Rounds    = 10_000
	maxPBKDF2Rounds = 1_000_000
	pbkdf2Prefix    = "$pbkdf2-"
)

var pbkdf2Digests = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}

// IsPBKDF2 reports whether a text is a stored form of NewPBKDF2.
func IsPBKDF2(stored string) bool {
	_, err := parsePBKDF2(stored)
	return err == nil
}

// NewPBKDF2 returns the form in which Kong 3.9.1 stores a hashed secret, with a salt of its own.
func NewPBKDF2(secret string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	sum, err := pbkdf2.Key(sha512.New, secret, salt, pbkdf2Rounds, sumBytes)
	if err != nil {
		panic(err) // not reached: the parameters are good
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("%ssha512$i=%d,l=%d$%s$%s", pbkdf2Prefix, pbkdf2Rounds, sumBytes, enc.EncodeToString(salt), enc.EncodeToString(sum))
}

// MatchesPBKDF2 holds a secret against its stored form. It takes some milliseconds.
func MatchesPBKDF2(stored, secret string) bool {
	p, err := parsePBKDF2(stored)
	if err != nil {
		return false
	}
	sum, err := pbkdf2.Key(p.digest, secret, p.salt, p.rounds, len(p.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, p.sum) == 1
}

type pbkdf2Form struct {
	digest    func() hash.Hash
	rounds    int
	salt, sum []byte
}

var errPBKDF2 = errors.New("read secret hash: not in the form $pbkdf2-sha512$i=..,l=..$salt$sum")

func parsePBKDF2(stored string) (*pbkdf2Form, error) {
	rest, ok := strings.CutPrefix(stored, pbkdf2Prefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 4 {
		return nil, errPBKDF2
	}
	p := &pbkdf2Form{digest: pbkdf2Digests[parts[0]]}
	var length int
	if _, err := fmt.Sscanf(parts[1], "i=%d,l=%d", &p.rounds, &length); err != nil {
		return nil, errPBKDF2
	}
	var err, err2 error
	p.salt, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[2], "="))
	p.sum, err2 = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[3], "="))
	if err != nil || err2 != nil || p.digest == nil || p.rounds < 1 || p.rounds > maxPBKDF2Rounds ||
		len(p.sum) != length || length < 16 || length > maxBytes {
		return nil, errPBKDF2
	}
	return p, nil
}
