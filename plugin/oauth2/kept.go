package oauth2

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Kinds of records. Spent ones tell of tokens of an operator that were renewed: the gates
// cannot delete those.
const (
	codeRecords    = "oauth2_codes"
	tokenRecords   = "oauth2_tokens"
	refreshRecords = "oauth2_refresh"
	spentRecords   = "oauth2_spent"
)

// codeTTL is how long a code is good.
const codeTTL = 5 * time.Minute

// kept is a record: of a code, or of a token by its access or its refresh token.
type kept struct {
	Service    string `json:"service,omitempty"` // id; "": all
	Credential string `json:"credential"`        // id of the application's
	User       string `json:"user,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Issued     int64  `json:"issued,omitempty"`     // Unix milliseconds
	ExpiresIn  int64  `json:"expires_in,omitempty"` // milliseconds
	Access     string `json:"access,omitempty"`     // of a refresh token: digest of what it renews
	Challenge  string `json:"challenge,omitempty"`
	Method     string `json:"method,omitempty"`
	Plugin     string `json:"plugin,omitempty"` // that gave the code

	operators bool // it is a token of an operator
}

// grant is what a new token is given for.
type grant struct {
	user, scope string
	refresh     string // that stays; "": another
}

// newCode makes a code and keeps it.
func (f *filter) newCode(x *plugin.Exchange, a *asked) (values, error) {
	code := random()
	k := &kept{
		Service: f.boundTo(x), Credential: a.client.ID, User: a.params.get("authenticated_userid").value, Scope: a.scope,
		Challenge: a.challenge, Method: a.method, Plugin: f.pluginID,
	}
	return values{"code": code}, f.keep(x, codeRecords, code, k, codeTTL)
}

// newToken makes a token and keeps it.
func (f *filter) newToken(x *plugin.Exchange, c *plugin.Credential, g grant, renewable bool) (values, error) {
	k := &kept{
		Service: f.boundTo(x), Credential: c.ID, User: g.user, Scope: g.scope,
		Issued: f.now().UnixMilli(), ExpiresIn: f.expiration.Milliseconds(),
	}
	access := random()
	// A token that has expired is as good as none: its record goes then.
	if err := f.keep(x, tokenRecords, digest(access), k, f.expiration); err != nil {
		return nil, err
	}
	answer := values{"access_token": access, "token_type": "bearer"}
	if f.expiration <= 0 {
		return answer, nil // it need not be renewed
	}
	answer["expires_in"] = int64(f.expiration / time.Second)
	if !renewable {
		return answer, nil
	}
	if g.refresh == "" {
		g.refresh = random()
	}
	k.Access = digest(access)
	answer["refresh_token"] = g.refresh
	return answer, f.keep(x, refreshRecords, g.refresh, k, f.refresh)
}

func (f *filter) keep(x *plugin.Exchange, kind, key string, k *kept, ttl time.Duration) error {
	raw, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode a record of %s: %w", kind, err)
	}
	return f.records.Put(x.Context(), kind, key, raw, ttl)
}

func (f *filter) get(x *plugin.Exchange, kind, key string) (*kept, error) {
	raw, err := f.records.Get(x.Context(), kind, key)
	if raw == nil || err != nil {
		return nil, err
	}
	k := &kept{}
	if err := json.Unmarshal(raw, k); err != nil {
		return nil, fmt.Errorf("decode a record of %s: %w", kind, err)
	}
	return k, nil
}

// code returns what a code was given for; nil: there is none.
func (f *filter) code(x *plugin.Exchange, code string) (*kept, error) {
	return f.get(x, codeRecords, code)
}

// spend takes a code. Of many who take it, one gets it.
func (f *filter) spend(x *plugin.Exchange, code string) (mine bool, err error) {
	raw, err := f.records.Take(x.Context(), codeRecords, code)
	return raw != nil, err
}

// find returns the token that is shown: one of the gates, else one of an operator.
func (f *filter) find(x *plugin.Exchange, access string) (*plugin.Token, error) {
	k, err := f.get(x, tokenRecords, digest(access))
	if err != nil {
		return nil, err
	}
	if k != nil {
		return &plugin.Token{
			Credential: k.Credential, Service: k.Service, User: k.User, Scope: k.Scope,
			Issued: time.UnixMilli(k.Issued), ExpiresIn: time.Duration(k.ExpiresIn) * time.Millisecond,
		}, nil
	}
	t := x.Directory.Token(access)
	if t == nil || !same(t.Access, access) {
		return nil, nil
	}
	return t, f.unlessSpent(x, &t)
}

// unlessSpent makes *t nil when a token of an operator was renewed here.
func (f *filter) unlessSpent(x *plugin.Exchange, t **plugin.Token) error {
	spent, err := f.records.Get(x.Context(), spentRecords, digest((*t).Access))
	if spent != nil {
		*t = nil
	}
	return err
}

// renewable returns the token that a refresh token renews; nil: there is none.
func (f *filter) renewable(x *plugin.Exchange, refresh string) (*kept, error) {
	k, err := f.get(x, refreshRecords, refresh)
	if k != nil || err != nil {
		return k, err
	}
	t := x.Directory.Token(refresh)
	if t == nil || t.Refresh == "" || !same(t.Refresh, refresh) {
		return nil, nil
	}
	if err := f.unlessSpent(x, &t); t == nil || err != nil {
		return nil, err
	}
	return &kept{Service: t.Service, Credential: t.Credential, User: t.User, Scope: t.Scope, Access: digest(t.Access), operators: true}, nil
}

// retire forgets a token that is renewed. Of many who renew one of the gates, one may.
func (f *filter) retire(x *plugin.Exchange, old *kept, refresh string) (mine bool, err error) {
	if old.operators {
		return true, f.records.Put(x.Context(), spentRecords, old.Access, []byte("{}"), 0)
	}
	raw, err := f.records.Take(x.Context(), refreshRecords, refresh)
	if raw == nil || err != nil {
		return false, err
	}
	_, err = f.records.Take(x.Context(), tokenRecords, old.Access)
	return true, err
}

// digest stands for a token in what is kept: who reads that cannot use it.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// random returns 32 characters, 160 bits.
func random() string { return (rand.Text() + rand.Text())[:32] }

// same compares secrets without telling where they differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
