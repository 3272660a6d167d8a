package jwt

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// token is one whose form was understood; nothing of it is believed yet.
type token struct {
	algorithm string
	head      map[string]json.RawMessage
	claims    map[string]json.RawMessage
	signed    string // what the signature is over
	signature []byte
}

// parse takes a token apart. problem is what is wrong with it, in Kong's words.
func parse(text string) (t *token, problem string) {
	head, rest, ok := strings.Cut(text, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nil, "invalid JSON"
	}
	t = &token{signed: text[:len(head)+1+len(claims)]}
	rawHead, ok := decode(head)
	rawClaims, ok2 := decode(claims)
	if !ok || !ok2 || !json.Valid(rawHead) || !json.Valid(rawClaims) {
		return nil, "invalid JSON"
	}
	if json.Unmarshal(rawHead, &t.head) != nil || json.Unmarshal(t.head["alg"], &t.algorithm) != nil {
		return nil, "invalid alg"
	}
	if !known(t.algorithm) {
		return nil, "invalid alg"
	}
	if json.Unmarshal(rawClaims, &t.claims) != nil || t.claims == nil {
		return nil, "invalid claims"
	}
	if t.signature, ok = decode(signature); !ok {
		return nil, "invalid signature"
	}
	return t, ""
}

// decode reads base64 of either alphabet, padded or not, as Kong does.
func decode(s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "+/") {
		s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	}
	if strings.ContainsAny(s, "\r\n") {
		return nil, false // Go's decoder would pass over them
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	return b, err == nil
}

// text returns the claim that names the key, or the member of the head of that name. One that
// is no text names no key that there could be.
func (t *token) text(name string) (string, bool) {
	for _, members := range [2]map[string]json.RawMessage{t.claims, t.head} {
		raw, ok := members[name]
		if !ok || string(raw) == "false" {
			continue
		}
		var s string
		if string(raw) == "null" || json.Unmarshal(raw, &s) != nil {
			return string(raw), true
		}
		return s, true
	}
	return "", false
}

// number returns a claim that is a number.
func (t *token) number(name string) (float64, bool) {
	raw, ok := t.claims[name]
	if !ok || string(raw) == "null" {
		return 0, false
	}
	var n float64
	err := json.Unmarshal(raw, &n)
	return n, err == nil
}
