// Package session lets a client that an authentication plugin has let in once come back with a
// cookie instead of its credential.
//
// It knows cookies and how long they last; who a consumer is, the directory says, and where
// sessions of storage "kong" are, the gate's records. Enter at Definition.
package session

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the rules of sessions. A config without a secret cannot run: what sessions are
// sealed with must be the same at all gates.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if c.GetSecret() == "" {
		return nil, errors.New("config.secret: required field missing")
	}
	f := &filter{
		log: h.Logger(), now: time.Now, seal: newSeal(c.GetSecret()), audience: text(c.Audience, "default"),
		idling: seconds(c.IdlingTimeout, 900), stale: seconds(c.StaleTtl, 10),
		session: cookie{
			name: text(c.CookieName, "session"), rolling: seconds(c.RollingTimeout, 3600), absolute: seconds(c.AbsoluteTimeout, 86400),
		},
		logoutMethods: c.GetLogoutMethods(), logoutQuery: c.GetLogoutQueryArg(),
		tellClient: c.GetResponseHeaders(), tellUpstream: c.GetRequestHeaders(),
	}
	f.session.attributes = attributes(c)
	if c.GetRemember() {
		f.remember = &cookie{
			name: text(c.RememberCookieName, "remember"), attributes: f.session.attributes, persistent: true,
			rolling: seconds(c.RememberRollingTimeout, 604800), absolute: seconds(c.RememberAbsoluteTimeout, 2592000),
		}
	}
	if c.GetStorage() == "kong" {
		f.records = h.Records()
	}
	if c.GetReadBodyForLogout() {
		f.logoutBody = c.GetLogoutPostArg()
	}
	return f, nil
}

func text(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func seconds(n *float64, otherwise float64) time.Duration {
	if n == nil {
		n = &otherwise
	}
	return time.Duration(*n * float64(time.Second))
}

type filter struct {
	log      *slog.Logger
	now      func() time.Time
	seal     *seal
	records  plugin.Records // nil: cookies hold their sessions
	audience string
	idling   time.Duration
	stale    time.Duration
	session  cookie
	remember *cookie // nil: sessions end with the browser

	logoutMethods []string
	logoutQuery   string
	logoutBody    string // "": bodies are not looked at

	tellClient, tellUpstream []string
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// visit is what the request phase leaves for the answer.
type visit struct {
	current *ticket  // the session that let the client in; nil: none did
	cookies []string // Set-Cookie lines
}

// OnRequest lets the owner of a session in, or ends the session when asked to.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	t := f.find(x)
	if t == nil {
		return plugin.Next
	}
	v := &visit{}
	x.Put(f, v)
	if f.leaving(x) {
		f.end(x, v)
		return plugin.Exit(http.StatusOK, "", "").Because("logout")
	}
	consumer := x.Directory.Consumer(t.Consumer)
	if consumer == nil || consumer.ID != t.Consumer {
		f.end(x, v)
		return plugin.Next
	}
	v.current = t
	f.refresh(x, v)
	for _, what := range f.tellUpstream {
		name, value := f.header(t, what)
		x.Request.Header.Set(name, value)
	}
	plugin.Authenticate(x, &plugin.Credential{ID: t.Credential, Consumer: consumer}, t.Credential)
	return plugin.Next
}

// leaving reports whether the request is one to log out.
func (f *filter) leaving(x *plugin.Exchange) bool {
	if !slices.Contains(f.logoutMethods, x.Request.Method) {
		return false
	}
	if f.logoutQuery != "" {
		if _, n := payload.ParseArgs(x.Request.Query).Lookup(f.logoutQuery); n > 0 {
			return true
		}
	}
	if f.logoutBody == "" || x.Request.Method == http.MethodGet {
		return false
	}
	body, err := x.ReadBody(0)
	if err != nil {
		return false
	}
	args := payload.Parse(x.Request.Header.Get("Content-Type"), body)
	if args == nil {
		return false
	}
	_, n := args.Lookup(f.logoutBody)
	return n > 0
}

// OnResponse begins a session for a client that another plugin has let in, and sends cookies.
func (f *filter) OnResponse(x *plugin.Exchange) {
	v, _ := x.Value(f).(*visit)
	if v == nil {
		v = &visit{}
	}
	if x.Credential != nil && x.Consumer != nil && !v.current.of(x) {
		f.begin(x, v)
	}
	for _, line := range v.cookies {
		x.Response.Header.Append("Set-Cookie", line)
	}
	if v.current == nil {
		return
	}
	for _, what := range f.tellClient {
		name, value := f.header(v.current, what)
		x.Response.Header.Set(name, value)
	}
}
