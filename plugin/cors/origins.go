package cors

import (
	"fmt"
	"regexp"
	"strings"
)

// origins says which origin an answer names, by Kong's rules.
type origins struct {
	everyone bool   // nothing but *
	only     string // the one literal: named whoever asks
	star     bool   // * among others
	entries  []entry
}

type entry struct {
	literal string // normalised; "" for a regex
	regex   *regexp.Regexp
	byHost  bool
}

var literal = regexp.MustCompile(`^[A-Za-z0-9.:/-]+$`)

func compile(list []string) (origins, error) {
	var o origins
	switch {
	case len(list) == 0, len(list) == 1 && list[0] == "*":
		o.everyone = true
		return o, nil
	case len(list) == 1 && literal.MatchString(list[0]):
		o.only = list[0]
		return o, nil
	}
	for _, s := range list {
		if s == "*" {
			o.star = true
			continue
		}
		e, err := compileEntry(s)
		if err != nil {
			return o, err
		}
		o.entries = append(o.entries, e)
	}
	return o, nil
}

func compileEntry(s string) (entry, error) {
	if literal.MatchString(s) {
		origin, _ := normalise(s)
		return entry{literal: origin}, nil
	}
	if _, err := regexp.Compile(s); err != nil {
		return entry{}, fmt.Errorf("config.origins: '%s' is not a valid regex: %w", s, err)
	}
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return entry{}, fmt.Errorf("config.origins: '%s' cannot be held against a whole origin: %w", s, err)
	}
	return entry{regex: re, byHost: !strings.Contains(s, ":")}, nil
}

// match returns the origin to name, "" for none, and whether everyone is let in. ok says
// that the request has an origin.
func (o *origins) match(origin string, ok bool) (allowed string, anyone bool) {
	switch {
	case o.everyone:
		return "*", true
	case o.only != "":
		return o.only, false
	case !ok:
		return "", false
	case o.star:
		return "*", true
	}
	whole, host := normalise(origin)
	for i := range o.entries {
		if o.entries[i].matches(whole, host) {
			return whole, false
		}
	}
	return "", false
}

func (e *entry) matches(whole, host string) bool {
	if e.regex == nil {
		return e.literal == whole
	}
	if e.byHost {
		return e.regex.MatchString(host)
	}
	return e.regex.MatchString(whole)
}

// normalise cuts an origin to scheme://host[:port], without the scheme's own port. What is
// no origin, like null, stands for itself.
func normalise(s string) (whole, host string) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s, s
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	end := len(scheme) + len("://") + len(rest)
	user := strings.LastIndexByte(rest, '@') + 1
	host, port := rest[user:], ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	if host == "" {
		return s, s
	}
	if port == "" && len(host) < len(rest)-user || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		end -= len(port) + 1
	}
	if user > 0 {
		return scheme + "://" + s[len(scheme)+len("://")+user:end], host
	}
	return s[:end], host
}
