package engine

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// hashKey is what a consistent hash is taken of: the first of the upstream's choices that the
// request has.
func (e *exchange) hashKey() string {
	b := e.endpoint.Upstream.Spec.Balancer
	if b == nil || b.Algorithm != "consistent-hashing" {
		return ""
	}
	for i := range b.Hash {
		if v := e.hashInput(&b.Hash[i]); v != "" {
			return v
		}
	}
	return ""
}

func (e *exchange) hashInput(h *upstream.HashSpec) string {
	x := &e.x
	switch h.On {
	case "consumer":
		if x.Consumer != nil {
			return x.Consumer.ID
		}
		if x.Credential != nil {
			return x.Credential.ID
		}
	case "ip":
		return e.text(func(b []byte) []byte { return appendAddr(b, x.Client) })
	case "header":
		return strings.Join(slices.Collect(x.Request.Header.Values(h.Name)), ", ")
	case "cookie":
		if v := cookie(x.Request.Header.Values("Cookie"), h.Name); v != "" {
			return v
		}
		return e.giveCookie(h.Name)
	case "path":
		return e.query.Path
	case "query_arg":
		return queryArg(x.Request.Query, h.Name)
	case "uri_capture":
		v, _ := x.Captures.Lookup(h.Name)
		return v
	}
	return ""
}

// giveCookie makes a value for a client that has no cookie, by which it will come back to the
// same target; keepCookie tells the client.
func (e *exchange) giveCookie(name string) string {
	value := uuid.NewString()
	e.cookie = name + "=" + value + "; Path=" + e.endpoint.Upstream.Spec.Balancer.CookiePath + "; Same-Site=Lax; HttpOnly"
	return value
}

// keepCookie puts the cookie that was given on the answer, in the place of one of its name.
func (e *exchange) keepCookie(h *plugin.Header) {
	if e.cookie == "" || !e.proxied {
		return
	}
	name, _, _ := strings.Cut(e.cookie, "=")
	for i, f := range h.Fields() {
		if n, _, _ := strings.Cut(f.Value, "="); n == name && plugin.EqualName(f.Name, "Set-Cookie") {
			h.Fields()[i].Value = e.cookie
			return
		}
	}
	h.Append("Set-Cookie", e.cookie)
}

func cookie(lines func(func(string) bool), name string) string {
	found := ""
	lines(func(line string) bool {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if n == name {
				found = v
				return false
			}
		}
		return true
	})
	return found
}

// queryArg returns the values of one argument, sorted and joined.
func queryArg(query, name string) string {
	var values []string
	for pair := range strings.SplitSeq(query, "&") {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return strings.Join(values, ",")
}
