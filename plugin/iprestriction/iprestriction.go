// Package iprestriction lets requests pass or not by the address they come from.
//
// It knows addresses only: who is behind one, and which proxies are believed, was settled
// before it runs. Enter at Definition.
package iprestriction

import (
	"fmt"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles both lists. An entry that is no address and no range is an error.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	allow, err := compile(c.GetAllow())
	if err != nil {
		return nil, fmt.Errorf("config.allow: %w", err)
	}
	deny, err := compile(c.GetDeny())
	if err != nil {
		return nil, fmt.Errorf("config.deny: %w", err)
	}
	f := &filter{allow: allow, deny: deny, status: http.StatusForbidden, message: c.GetMessage()}
	if c.Status != nil {
		f.status = int(c.GetStatus())
	}
	if f.status < 100 || f.status > 999 {
		return nil, fmt.Errorf("config.status: %d is no HTTP status", f.status)
	}
	return f, nil
}

type filter struct {
	allow, deny set
	status      int
	message     string
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest reads the deny list first: an address on both lists is refused, as in Kong.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	client := x.Client.Unmap()
	if f.deny.contains(client) {
		return f.refuse(x, "ip-denied")
	}
	if !f.allow.empty() && !f.allow.contains(client) {
		return f.refuse(x, "ip-not-allowed")
	}
	return plugin.Next
}

func (f *filter) refuse(x *plugin.Exchange, reason string) plugin.Verdict {
	message := f.message
	if message == "" {
		message = "IP address not allowed: " + x.Client.Unmap().String()
	}
	return plugin.Deny(f.status, message).Because(reason)
}
