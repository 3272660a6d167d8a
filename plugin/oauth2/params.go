package oauth2

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// param is one parameter of a request. One that is there twice is no text (RFC 6749 section 3.1).
type param struct {
	value       string
	there, text bool
}

// params are those of the body, then those of the query.
type params []payload.Editor

// read returns the parameters of a request; only methods with a body have some in it.
func read(x *plugin.Exchange) params {
	all := params{payload.ParseArgs(x.Request.Query)}
	switch x.Request.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return all
	}
	body, err := x.ReadBody(0)
	if err != nil {
		return all
	}
	if in := payload.Parse(x.Request.Header.Get("Content-Type"), body); in != nil {
		all = params{in, all[0]}
	}
	return all
}

func (p params) get(name string) param {
	for _, in := range p {
		if text, n := in.Lookup(name); n > 0 {
			return param{strings.Clone(text), true, n == 1 && text != ""}
		}
	}
	return param{}
}

// shown returns the access token that a request shows, and removes it where it is hidden from
// the upstream.
func (f *filter) shown(x *plugin.Exchange) string {
	if value, there := x.Request.Header.Lookup(f.header); there {
		words := strings.Fields(value)
		if len(words) != 2 || !strings.EqualFold(words[0], "token") && !strings.EqualFold(words[0], "bearer") {
			return strings.Clone(value) // Kong 3.9.1 takes all of it for a token
		}
		token := strings.Clone(words[1])
		if f.GetHideCredentials() {
			x.Request.Header.Del(f.header)
		}
		return token
	}
	token := read(x).get("access_token")
	if !token.text {
		return ""
	}
	if f.GetHideCredentials() {
		hide(x)
	}
	return token.value
}

func hide(x *plugin.Exchange) {
	query := payload.ParseArgs(x.Upstream.Query)
	if query.Remove("access_token"); query.Changed() {
		x.Upstream.Query = string(query.Bytes())
	}
	kind := x.Request.Header.Get("Content-Type")
	if x.Request.Method == http.MethodGet || payload.KindOf(kind) != payload.Form {
		return
	}
	body, err := x.ReadBody(0)
	if err != nil {
		return
	}
	form := payload.Parse(kind, body)
	if form.Remove("access_token"); form.Changed() {
		x.SetBody(form.Bytes())
	}
}

// values are what an endpoint answers: texts and numbers.
type values map[string]any

// exit answers with values as JSON, which nobody may keep.
func exit(status int, v values) plugin.Verdict {
	body, err := json.Marshal(v)
	if err != nil {
		return plugin.Deny(http.StatusInternalServerError, "") // not reached: texts and numbers encode
	}
	return plugin.Exit(status, "application/json; charset=utf-8", string(body))
}

// noStore keeps an answer out of caches.
func noStore(x *plugin.Exchange) {
	x.Early.Set("Cache-Control", "no-store")
	x.Early.Set("Pragma", "no-cache")
}

// merge adds values to the arguments of a query or a fragment, in the order of names.
func (v values) merge(query string) string {
	all := map[string]string{}
	payload.ParseArgs(query).Texts(func(name, text string) bool {
		all[name] = text
		return true
	})
	for name, value := range v {
		switch value := value.(type) {
		case string:
			all[name] = value
		case int64:
			all[name] = strconv.FormatInt(value, 10)
		}
	}
	var b strings.Builder
	for _, name := range sorted(all) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		escape(&b, name)
		b.WriteByte('=')
		escape(&b, all[name])
	}
	return b.String()
}

// escape writes a text of a URL as Kong 3.9.1 does: with lower-case digits.
func escape(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~!*'()", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}
