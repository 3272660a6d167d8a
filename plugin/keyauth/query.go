package keyauth

import (
	"net/url"
	"strings"
)

// argument returns the first value of a query argument and how often it stands there. Names
// have case. It allocates only for values with escapes.
func argument(query, name string) (value string, count int) {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(pair, "=")
		if unescape(k) != name {
			continue
		}
		if count == 0 {
			value = unescape(v)
		}
		count++
	}
	return value, count
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// without is the query less every argument of that name.
func without(query, name string) string {
	kept := make([]string, 0, strings.Count(query, "&")+1)
	for _, pair := range strings.Split(query, "&") {
		k, _, _ := strings.Cut(pair, "=")
		if unescape(k) != name {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}
