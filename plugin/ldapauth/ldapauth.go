// Package ldapauth lets clients in by a name and a password that an LDAP server knows.
//
// It knows the header and what was right a moment ago; the server is asked by package ldap of
// go-ldap. There are no consumers: the upstream is told the name. Enter at Definition.
package ldapauth

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultType = "ldap"

// New compiles how the server is asked. It connects to nothing.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	kind := c.GetHeaderType()
	if kind == "" {
		kind = defaultType
	}
	challenge := kind
	if kind == defaultType {
		challenge = "LDAP" // as in Kong 3.9.1, for who compares it with regard to case
	}
	if c.Realm != nil {
		challenge += ` realm="` + c.GetRealm() + `"`
	}
	return &filter{
		log: h.Logger(), hide: c.GetHideCredentials(), anonymous: c.GetAnonymous(), kind: kind, challenge: challenge,
		known: newMemory(seconds(c.GetCacheTtl()), time.Now), server: newServer(c),
	}, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

type filter struct {
	log       *slog.Logger
	hide      bool
	anonymous string
	kind      string // the word before the credentials
	challenge string
	known     *memory
	server    *server
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest lets in who the server knows. With "anonymous" everybody else goes on as that
// consumer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if plugin.Authenticated(x, f.anonymous) {
		return plugin.Next
	}
	reason, err := f.authenticate(x)
	switch {
	case err != nil:
		f.log.Error("ask the LDAP server", "plugin", "ldap-auth", "error", err)
		return plugin.Deny(http.StatusInternalServerError, "").Because("ldap-unreachable")
	case reason == "":
		return plugin.Next
	case f.anonymous != "":
		return plugin.Anonymous(x, f.anonymous)
	}
	x.Early.Set("WWW-Authenticate", f.challenge)
	return plugin.Deny(http.StatusUnauthorized, "Unauthorized").Because(reason)
}

// authenticate tries Proxy-Authorization, then Authorization, as Kong does. It returns why it
// failed; the error is that the server could not be asked.
func (f *filter) authenticate(x *plugin.Exchange) (reason string, err error) {
	reason = "no-credentials"
	for _, header := range [2]string{"Proxy-Authorization", "Authorization"} {
		name, password, ok := f.parse(x.Request.Header.Get(header))
		if !ok {
			continue
		}
		right, err := f.check(name, password)
		if err != nil {
			return "", err
		}
		if !right {
			reason = "wrong-password"
			continue
		}
		if f.hide {
			x.Request.Header.Del("Authorization")
			x.Request.Header.Del("Proxy-Authorization")
		}
		plugin.Authenticate(x, &plugin.Credential{ID: f.known.name(name), Key: name}, name)
		return "", nil
	}
	return reason, nil
}

// check asks the server, unless it has answered a moment ago.
func (f *filter) check(name, password string) (right bool, err error) {
	return f.known.ask(name, password, func() (bool, error) { return f.server.bind(name, password) })
}

// parse reads a header: the word, then name and password in Base64. A password is never empty:
// a server would take that for nobody in particular (RFC 4513 section 5.1.2).
func (f *filter) parse(value string) (name, password string, ok bool) {
	value = strings.TrimLeft(value, " \t")
	if len(value) <= len(f.kind) || !strings.EqualFold(value[:len(f.kind)], f.kind) {
		return "", "", false
	}
	rest := strings.TrimLeft(value[len(f.kind):], " \t")
	if rest == value[len(f.kind):] {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil {
		return "", "", false
	}
	name, password, ok = strings.Cut(string(plain), ":")
	return name, password, ok && password != ""
}
