package guard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// leastToken is how short a token may be: what is guessed is no token.
const leastToken = 20

// Tokens are who may use the Admin API. Only digests are kept.
type Tokens struct{ list []holder }

type holder struct {
	name   string
	role   Role
	digest [sha256.Size]byte
}

// ReadTokens reads a file that nobody else may read.
func ReadTokens(path string) (*Tokens, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s has mode %v: everybody can read it, want 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseTokens reads lines of a name, a role and a token, or "sha256:" and the token's digest
// in hexadecimal. Lines that begin with "#" say what they like.
func ParseTokens(text []byte) (*Tokens, error) {
	t := &Tokens{}
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
		t.list = append(t.list, h)
	}
	if len(t.list) == 0 {
		return nil, fmt.Errorf("no token; a line is NAME ROLE TOKEN")
	}
	return t, nil
}

func parseHolder(words []string) (h holder, err error) {
	if len(words) != 3 {
		return h, fmt.Errorf("expected NAME ROLE TOKEN")
	}
	h.name, h.role = words[0], roles[words[1]]
	if h.role == Nobody {
		return h, fmt.Errorf("%s: role %q is none of viewer, editor, releaser, admin", h.name, words[1])
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

// find tells who a token is of. It takes the same time whichever it is.
func (t *Tokens) find(token string) (who string, role Role) {
	digest := sha256.Sum256([]byte(token))
	for _, h := range t.list {
		if subtle.ConstantTimeCompare(digest[:], h.digest[:]) == 1 {
			who, role = h.name, h.role
		}
	}
	return who, role
}
