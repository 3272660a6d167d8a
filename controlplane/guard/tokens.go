package guard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// leastToken is how short a token may be: what is guessed is no token.
const leastToken = 20

// Tokens are who may use the Admin API, by tokens and by certificates. Of tokens only digests are
// kept.
type Tokens struct {
	path string
	list atomic.Pointer[[]holder]
}

type holder struct {
	person
	digest  [sha256.Size]byte
	subject string // of a certificate, which then stands for the token
}

// ReadTokens reads a file that nobody else may read.
func ReadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	return t, t.Reload()
}

// Reload reads the file anew. When it cannot be used, what was read before stays.
func (t *Tokens) Reload() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s has mode %v: everybody can read it, want 0600", t.path, info.Mode().Perm())
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	list, err := parseHolders(text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	t.list.Store(&list)
	return nil
}

// ParseTokens reads lines of a name, a role (with what it is limited to), and a token, or "sha256:" and the token's digest in
// hexadecimal, or "cert:" and a name that a client's certificate has. Lines that begin with "#"
// say what they like.
func ParseTokens(text []byte) (*Tokens, error) {
	list, err := parseHolders(text)
	if err != nil {
		return nil, err
	}
	t := &Tokens{}
	t.list.Store(&list)
	return t, nil
}

func parseHolders(text []byte) (list []holder, err error) {
	seen := map[string]bool{}
	line := 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line++
		words := strings.Fields(s.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		h, err := parseHolder(words)
		if err == nil && seen[h.name] {
			err = fmt.Errorf("%s is there twice", h.name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		seen[h.name] = true
		list = append(list, h)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no token; a line is NAME ROLE TOKEN")
	}
	return list, nil
}

func parseHolder(words []string) (h holder, err error) {
	if len(words) != 3 {
		return h, fmt.Errorf("expected NAME ROLE TOKEN")
	}
	grant, err := parseGrant(words[1])
	if err != nil {
		return h, fmt.Errorf("%s: %w", words[0], err)
	}
	h.person = grant.person(words[0])
	if subject, ok := strings.CutPrefix(words[2], "cert:"); ok {
		if h.subject = subject; subject == "" {
			return h, fmt.Errorf("%s: cert: wants a name that the certificate has", h.name)
		}
		return h, nil
	}
	if digest, ok := strings.CutPrefix(words[2], "sha256:"); ok {
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != sha256.Size {
			return h, fmt.Errorf("%s: sha256: wants 64 hexadecimal digits", h.name)
		}
		h.digest = [sha256.Size]byte(raw)
		return h, nil
	}
	if len(words[2]) < leastToken {
		return h, fmt.Errorf("%s: a token has at least %d characters (openssl rand -hex 32 makes one)", h.name, leastToken)
	}
	h.digest = sha256.Sum256([]byte(words[2]))
	return h, nil
}

// Certificates reports whether somebody is known by a certificate.
func (t *Tokens) Certificates() bool {
	return slices.ContainsFunc(*t.list.Load(), func(h holder) bool { return h.subject != "" })
}

// Kinds are the kinds of entities to which somebody is limited.
func (t *Tokens) Kinds() (list []string) {
	for _, h := range *t.list.Load() {
		for _, s := range h.scopes {
			list = append(list, s.Kinds...)
		}
	}
	return list
}

// find tells whose a proof is: a token, else a certificate. It takes the same time whoever's
// token it is.
func (t *Tokens) find(p proof) (who person, found bool) {
	digest := sha256.Sum256([]byte(p.token))
	for _, h := range *t.list.Load() {
		switch {
		case h.subject != "":
			if p.token == "" && has(p.certificate, h.subject) {
				who, found = h.person, true
			}
		case subtle.ConstantTimeCompare(digest[:], h.digest[:]) == 1:
			who, found = h.person, true
		}
	}
	return who, found
}

// has reports whether a certificate has a name: as its common name, or among its other names.
func has(c *x509.Certificate, name string) bool {
	if c == nil {
		return false
	}
	for _, u := range c.URIs {
		if u.String() == name {
			return true
		}
	}
	return c.Subject.CommonName == name || slices.Contains(c.DNSNames, name) || slices.Contains(c.EmailAddresses, name)
}
