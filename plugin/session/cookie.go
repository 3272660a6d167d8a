package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// cookie is one of the two that sessions have, and how long it lasts.
type cookie struct {
	name       string
	attributes string // "; Path=/; ...", as they end a line
	persistent bool   // it outlives the browser
	rolling    time.Duration
	absolute   time.Duration
}

// attributes are those of both cookies, in the order of Kong 3.9.1.
func attributes(c *Config) string {
	var b strings.Builder
	b.WriteString("; Path=" + text(c.CookiePath, "/"))
	if c.GetCookieDomain() != "" {
		b.WriteString("; Domain=" + c.GetCookieDomain())
	}
	if same := text(c.CookieSameSite, "Strict"); same != "Default" {
		b.WriteString("; SameSite=" + same)
	}
	if c.CookieSecure == nil || c.GetCookieSecure() {
		b.WriteString("; Secure")
	}
	if c.CookieHttpOnly == nil || c.GetCookieHttpOnly() {
		b.WriteString("; HttpOnly")
	}
	return b.String()
}

// line is the Set-Cookie that gives the cookie.
func (c *cookie) line(value string, now time.Time) string {
	line := c.name + "=" + value + c.attributes
	if !c.persistent || c.rolling <= 0 {
		return line
	}
	return line + "; Expires=" + now.Add(c.rolling).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") +
		"; Max-Age=" + strconv.FormatInt(int64(c.rolling/time.Second), 10)
}

// gone is the Set-Cookie that takes it back.
func (c *cookie) gone() string {
	return c.name + "=" + c.attributes + "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"
}

// values yields what the request's cookies of this name hold.
func (c *cookie) values(h *plugin.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range h.Values("Cookie") {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
				if ok && name == c.name && !yield(value) {
					return
				}
			}
		}
	}
}

// seal closes sessions so that clients can neither read nor make them.
type seal struct{ aead cipher.AEAD }

func newSeal(secret string) *seal {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "sekifuda session", 32)
	if err != nil {
		panic(err) // 32 bytes are not too many
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block of GCM
	}
	return &seal{aead}
}

// close returns the sealed session as a cookie's value.
func (s *seal) close(t *ticket) string {
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, t.encode(), nil))
}

// open returns the session of a value; nil when it is none of ours.
func (s *seal) open(value string) *ticket {
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil
	}
	plain, err := s.aead.Open(nil, nil, raw, nil)
	if err != nil {
		return nil
	}
	t := &ticket{}
	if json.Unmarshal(plain, t) != nil {
		return nil
	}
	return t
}
