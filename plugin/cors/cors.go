// Package cors answers browsers that ask whether a page of another origin may use a route,
// and marks answers for them.
//
// It knows origins and the Fetch standard's headers; it does not stop a request, since the
// browser does. Enter at Definition.
package cors

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
)

var defaultMethods = []string{
	"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT",
}

// New compiles the origins. One that is neither * nor a literal is an RE2 expression, held
// against the whole origin, or against its host when there is no colon in it.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	o, err := compile(c.GetOrigins())
	if err != nil {
		return nil, err
	}
	methods := c.GetMethods()
	if len(methods) == 0 {
		methods = defaultMethods
	}
	f := &filter{
		origins:        o,
		methods:        strings.Join(methods, ","),
		headers:        strings.Join(c.GetHeaders(), ","),
		exposed:        strings.Join(c.GetExposedHeaders(), ","),
		credentials:    c.GetCredentials(),
		privateNetwork: c.GetPrivateNetwork(),
		letPass:        c.GetPreflightContinue(),
	}
	if c.MaxAge != nil {
		f.maxAge = strconv.FormatFloat(c.GetMaxAge(), 'f', -1, 64)
	}
	return f, nil
}

type filter struct {
	origins                           origins
	methods, headers, exposed, maxAge string
	credentials                       bool
	privateNetwork                    bool
	letPass                           bool
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// OnRequest answers a preflight itself, with 200 and no body as Kong does, or lets it pass
// to the upstream, which then answers alone.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if !preflight(x) {
		return plugin.Next
	}
	x.Put(f, true)
	if f.letPass {
		return plugin.Next
	}
	f.answer(x)
	return plugin.Exit(http.StatusOK, "", "").Because("preflight")
}

func preflight(x *plugin.Exchange) bool {
	if x.Request.Method != http.MethodOptions {
		return false
	}
	if _, ok := x.Request.Header.Lookup("Origin"); !ok {
		return false
	}
	_, ok := x.Request.Header.Lookup("Access-Control-Request-Method")
	return ok
}

func (f *filter) answer(x *plugin.Exchange) {
	h := &x.Early
	f.allow(x, h, false)
	switch asked, ok := x.Request.Header.Lookup("Access-Control-Request-Headers"); {
	case f.headers != "":
		h.Set("Access-Control-Allow-Headers", f.headers)
	case ok:
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Allow-Methods", f.methods)
	if f.maxAge != "" {
		h.Set("Access-Control-Max-Age", f.maxAge)
	}
	if f.privateNetwork && x.Request.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
}

// OnResponse marks every answer but that of a preflight, also when there is no Origin: a
// cache may give it to a page later.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if x.Value(f) != nil {
		return
	}
	f.allow(x, &x.Response.Header, true)
	if f.exposed != "" {
		x.Response.Header.Set("Access-Control-Expose-Headers", f.exposed)
	}
}

// allow writes who may read the answer. With more than one Vary line, as an upstream's, ours
// comes beside it.
func (f *filter) allow(x *plugin.Exchange, h *plugin.Header, beside bool) {
	origin, ok := x.Request.Header.Lookup("Origin")
	allowed, anyone := f.origins.match(origin, ok)
	if !f.origins.everyone {
		vary(h, beside)
	}
	if allowed == "" {
		h.Del(allowOrigin)
	} else {
		h.Set(allowOrigin, allowed)
	}
	if !f.credentials {
		return
	}
	if !anyone {
		h.Set(allowCredentials, "true")
	} else if ok {
		// Browsers refuse credentials for *, so the origin is named.
		vary(h, beside)
		h.Set(allowOrigin, origin)
		h.Set(allowCredentials, "true")
	}
}

func vary(h *plugin.Header, beside bool) {
	if beside {
		h.Append("Vary", "Origin")
		return
	}
	h.Set("Vary", "Origin")
}
