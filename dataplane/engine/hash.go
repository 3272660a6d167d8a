package engine

import (
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane/upstream"
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
		return cookie(x.Request.Header.Values("Cookie"), h.Name)
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
