package authority

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
)

const tokenKind = "join_token"

// Bounds of join tokens.
const (
	DefaultTTL  = 15 * time.Minute
	maxTTL      = 30 * 24 * time.Hour
	maxUses     = 1000
	maxTokens   = 1000
	keptExpired = 7 * 24 * time.Hour // so that a refusal can say when it expired
)

// Use is one node that joined by a token.
type Use struct {
	Node string
	Key  string // digest of its public key
	At   time.Time
}

// Token is a join token as it is stored: its secret only as a digest.
type Token struct {
	ID      string `json:"-"`
	Secret  string
	Group   string
	Uses    int
	Used    []Use
	Created time.Time
	By      string
	Expires time.Time
}

// TokenRequest says what token is wanted.
type TokenRequest struct {
	Group string        // "": default
	TTL   time.Duration // 0: DefaultTTL
	Uses  int           // 0: one
	By    string
}

var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// errWord says what a word of a certificate's name may be.
func errWord(what, got string) error {
	return fmt.Errorf("%s: %q must have 1 to 128 letters, digits, '.', '_' or '-' and begin with a letter or a digit", what, got)
}

func (q *TokenRequest) check() error {
	if q.Group == "" {
		q.Group = "default"
	}
	if q.TTL == 0 {
		q.TTL = DefaultTTL
	}
	if q.Uses == 0 {
		q.Uses = 1
	}
	fields := fault.Tree{}
	if !word.MatchString(q.Group) {
		fields["group"] = errWord("group", q.Group).Error()
	}
	if q.TTL < 0 || q.TTL > maxTTL {
		fields["ttl"] = fmt.Sprintf("ttl: must be between 1s and %d days", maxTTL/(24*time.Hour))
	}
	if q.Uses < 0 || q.Uses > maxUses {
		fields["uses"] = fmt.Sprintf("uses: must be between 1 and %d", maxUses)
	}
	if len(fields) == 0 {
		return nil
	}
	var list []string
	for _, v := range fields {
		list = append(list, v.(string))
	}
	slices.Sort(list)
	return &fault.Error{Kind: fault.SchemaViolation, Message: strings.Join(list, "; "), Fields: fields}
}

// CreateToken makes a join token. Its text is not kept: it is told this once.
func (a *Authority) CreateToken(ctx context.Context, q TokenRequest) (Token, string, error) {
	if err := q.check(); err != nil {
		return Token{}, "", err
	}
	writes, err := a.spentTokens(ctx)
	if err != nil {
		return Token{}, "", err
	}
	secret := randomHex(32)
	now := a.Now()
	t := Token{
		ID: randomHex(4), Secret: hexDigest([]byte(secret)), Group: q.Group, Uses: q.Uses,
		Created: now, By: q.By, Expires: now.Add(q.TTL),
	}
	body, err := json.Marshal(t)
	if err != nil {
		return Token{}, "", err
	}
	writes = append(writes, store.Record{Kind: tokenKind, ID: t.ID, Body: body})
	if err := a.Store.Write(ctx, writes); err != nil {
		return Token{}, "", fmt.Errorf("write join token: %w", err)
	}
	return t, t.ID + "." + secret + "." + digestOf(a.current().all[0].cert), nil
}

// spentTokens are the removals of tokens that expired long ago.
func (a *Authority) spentTokens(ctx context.Context) ([]store.Record, error) {
	records, err := a.Store.Records(ctx, tokenKind)
	if err != nil {
		return nil, fmt.Errorf("read join tokens: %w", err)
	}
	var gone []store.Record
	for _, r := range records {
		t, err := parseToken(r)
		if err != nil || t.Expires.Add(keptExpired).Before(a.Now()) {
			gone = append(gone, store.Record{Kind: r.Kind, ID: r.ID, Version: r.Version})
		}
	}
	if len(records)-len(gone) >= maxTokens {
		return nil, &fault.Error{Kind: fault.TooLarge, Message: fmt.Sprintf("there are %d join tokens; revoke some first", maxTokens)}
	}
	return gone, nil
}

func parseToken(r store.Record) (Token, error) {
	t := Token{}
	if err := json.Unmarshal(r.Body, &t); err != nil {
		return t, fmt.Errorf("read join token %s: %w", r.ID, err)
	}
	t.ID = r.ID
	return t, nil
}

// Tokens lists the join tokens, newest first.
func (a *Authority) Tokens(ctx context.Context) ([]Token, error) {
	records, err := a.Store.Records(ctx, tokenKind)
	if err != nil {
		return nil, fmt.Errorf("read join tokens: %w", err)
	}
	list := make([]Token, 0, len(records))
	for _, r := range records {
		t, err := parseToken(r)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(x, y Token) int { return y.Created.Compare(x.Created) })
	return list, nil
}

// RevokeToken makes a token useless.
func (a *Authority) RevokeToken(ctx context.Context, id string) error {
	return retry(func() error {
		r, err := a.record(ctx, tokenKind, id)
		if err != nil {
			return err
		}
		if r.Version == 0 {
			return &fault.Error{Kind: fault.NotFound, Message: fmt.Sprintf("there is no join token %q; seki token list shows them", id)}
		}
		r.Body = nil
		return a.Store.Write(ctx, []store.Record{r})
	})
}

// spend takes one use of a token for a node, in a record that is yet to be written. The same
// node with the same key takes no further one: its answer may have been lost.
func (a *Authority) spend(ctx context.Context, text, node, key string) (Token, store.Record, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Token{}, store.Record{}, refuse("join token: expected ID.SECRET.DIGEST as seki token create prints it")
	}
	r, err := a.record(ctx, tokenKind, parts[0])
	if err != nil {
		return Token{}, r, err
	}
	if r.Version == 0 {
		return Token{}, r, refuse("join token %.16q: there is none of that id; it was revoked, or is of another cluster", parts[0])
	}
	t, err := parseToken(r)
	if err != nil {
		return t, r, err
	}
	now := a.Now()
	switch {
	case subtle.ConstantTimeCompare([]byte(hexDigest([]byte(parts[1]))), []byte(t.Secret)) != 1:
		return t, r, refuse("join token %s: its secret is wrong", t.ID)
	case now.After(t.Expires):
		return t, r, refuse("join token %s: expired at %s, %s ago; seki token create makes a new one",
			t.ID, t.Expires.UTC().Format(time.RFC3339), now.Sub(t.Expires).Round(time.Second))
	case slices.ContainsFunc(t.Used, func(u Use) bool { return u.Node == node && u.Key == key }):
		return t, r, nil
	case len(t.Used) >= t.Uses:
		last := t.Used[len(t.Used)-1]
		return t, r, refuse("join token %s: used up, %d of %d; last by node %s at %s", t.ID, len(t.Used), t.Uses, last.Node, last.At.UTC().Format(time.RFC3339))
	}
	t.Used = append(t.Used, Use{Node: node, Key: key, At: now})
	r.Body, err = json.Marshal(t)
	return t, r, err
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
