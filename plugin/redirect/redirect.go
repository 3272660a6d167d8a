// Package redirect sends clients to another URL.
//
// It knows the URL and how the path of the request can take the place of its own. Enter at
// Definition.
package redirect

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New takes the URL apart.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	u, err := url.Parse(c.GetLocation())
	if err != nil || u.Host == "" || u.Scheme == "" {
		return nil, fmt.Errorf("config.location: %q is no URL with a scheme and a host", c.GetLocation())
	}
	status := http.StatusMovedPermanently
	if c.StatusCode != nil {
		status = int(c.GetStatusCode())
	}
	f := &filter{
		location: c.GetLocation(), keep: c.GetKeepIncomingPath(),
		answer: plugin.Exit(status, "", "redirecting").Because("redirected"),
	}
	if u.Fragment != "" {
		f.fragment = "#" + u.EscapedFragment()
	}
	u.Path, u.RawPath, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", "", "", false, "", ""
	f.base = u.String()
	return f, nil
}

type filter struct {
	location       string
	base, fragment string // what stays of the location beside another path and query
	keep           bool
	answer         plugin.Verdict
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest answers every request.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	location := f.location
	if f.keep {
		var room [512]byte
		to := append(append(room[:0], f.base...), x.Request.Path...)
		if x.Request.Query != "" {
			to = append(append(to, '?'), x.Request.Query...)
		}
		location = x.Text(append(to, f.fragment...))
	}
	x.Early.Set("Location", location)
	return f.answer
}
