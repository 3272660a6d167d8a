// Package acl lets consumers in, or keeps them out, by the groups they are in.
//
// It knows the groups of the consumer that an authentication found; it authenticates nobody
// itself. Enter at Definition.
package acl

import (
	"errors"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	refusal             = "You cannot consume this service"
	consumerGroups      = "X-Consumer-Groups"
	authenticatedGroups = "X-Authenticated-Groups"
)

// New compiles the list. No authentication of this build brings groups of its own, so
// always_use_authenticated_groups changes nothing: Kong too falls back to the consumer's.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	if (len(c.GetAllow()) > 0) == (len(c.GetDeny()) > 0) {
		return nil, errors.New("exactly one of these fields must be non-empty: 'config.allow', 'config.deny'")
	}
	f := &filter{listed: map[string]bool{}, denying: len(c.GetDeny()) > 0, hide: c.GetHideGroupsHeader()}
	for _, list := range [2][]string{c.GetAllow(), c.GetDeny()} {
		for _, group := range list {
			f.listed[group] = true
		}
	}
	return f, nil
}

type filter struct {
	listed  map[string]bool
	denying bool // listed groups are kept out; otherwise only they pass
	hide    bool
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest holds the consumer's groups against the list.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if x.Consumer == nil {
		return stranger(x)
	}
	groups := x.Consumer.Groups
	if len(groups) == 0 && !f.denying {
		return stranger(x)
	}
	if f.in(groups) == f.denying {
		return plugin.Deny(http.StatusForbidden, refusal).Because("not-in-group")
	}
	f.tell(x, groups)
	return plugin.Next
}

// stranger answers one who has no groups: who did not authenticate is asked to.
func stranger(x *plugin.Exchange) plugin.Verdict {
	if x.Credential != nil {
		return plugin.Deny(http.StatusForbidden, refusal).Because("no-groups")
	}
	return plugin.Deny(http.StatusUnauthorized, "").Because("no-consumer")
}

func (f *filter) in(groups []string) bool {
	for _, g := range groups {
		if f.listed[g] {
			return true
		}
	}
	return false
}

// tell names the groups to the upstream. What the client claims to be in is gone, also when
// the groups are hidden (Kong 3.9.1 then passes the client's own line on).
func (f *filter) tell(x *plugin.Exchange, groups []string) {
	h := &x.Request.Header
	h.Del(authenticatedGroups)
	switch {
	case f.hide || len(groups) == 0:
		h.Del(consumerGroups)
	case len(groups) == 1:
		h.Set(consumerGroups, groups[0])
	default:
		var room [512]byte
		list := append(room[:0], groups[0]...)
		for _, g := range groups[1:] {
			list = append(append(list, ", "...), g...)
		}
		h.Set(consumerGroups, x.Text(list))
	}
}
