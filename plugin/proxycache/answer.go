package proxycache

import (
	"net/http"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// OnResponse keeps the answer, when it was asked for and may be kept.
func (f *filter) OnResponse(x *plugin.Exchange) {
	switch v := x.Value(f).(type) {
	case *Entry:
		// The gate told the length of the body it sends, which for HEAD is none.
		if x.Request.Method == http.MethodHead && v.length != "" {
			x.Response.Header.Set("Content-Length", v.length)
		}
	case *pending:
		ttl, ok := f.mayKeep(x)
		if !ok {
			f.status(x, &x.Response.Header, "Bypass")
			return
		}
		f.keep(x, v, ttl)
	}
}

// mayKeep tells for how long an answer is fresh. Answers of the gate itself are not kept.
func (f *filter) mayKeep(x *plugin.Exchange) (ttl time.Duration, ok bool) {
	r := &x.Response
	if r.Source != plugin.FromUpstream || !f.codes[r.Status] || r.Length > maxObject {
		return 0, false
	}
	if r.Header.Count("Content-Type") != 1 || !matchesAny(f.types, r.Header.Get("Content-Type")) || r.Header.Get("Vary") == "*" {
		return 0, false
	}
	if !f.obey {
		return f.ttl, true
	}
	d := parseDirectives(&r.Header)
	if d.private || d.noStore || d.noCache {
		return 0, false
	}
	ttl = d.lifetime(&r.Header, x.Times.Start)
	return ttl, ttl > 0
}

// keep stores the answer, when its body has come if it has one.
func (f *filter) keep(x *plugin.Exchange, p *pending, ttl time.Duration) {
	e := &Entry{
		Status: x.Response.Status, Stored: p.asked, TTL: ttl, Expires: p.asked.Add(ttl),
		contentType: strings.Clone(x.Response.Header.Get("Content-Type")),
		length:      strings.Clone(x.Response.Header.Get("Content-Length")),
		Header:      lasting(&x.Response.Header, &x.Early),
		variant:     variant(&x.Response.Header, &x.Request.Header),
	}
	if f.kept > 0 {
		e.Expires = p.asked.Add(f.kept)
	}
	if x.Request.Method == http.MethodHead || e.Status == http.StatusNoContent || e.Status == http.StatusNotModified {
		f.store.put(p.key, e)
		return
	}
	x.Response.Rewrite(func(body []byte) []byte {
		if len(body) <= maxObject {
			e.Body = string(body)
			f.store.put(p.key, e)
		}
		return body
	})
}

// passing are headers of one connection or of one exchange.
var passing = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-authenticate": true, "proxy-authorization": true, "te": true,
	"trailer": true, "trailers": true, "transfer-encoding": true, "upgrade": true, "public": true,
	"content-length": true, "content-type": true, "date": true, "age": true, "x-cache-status": true, "x-cache-key": true,
}

// lasting copies the lines that are the answer's own: none of this exchange, such as what is
// left of a rate limit.
func lasting(h, early *plugin.Header) []plugin.Field {
	var kept []plugin.Field
	for _, line := range h.Fields() {
		name := strings.ToLower(line.Name)
		if _, ours := early.Lookup(name); ours || passing[name] || strings.Contains(name, "ratelimit-remaining") {
			continue
		}
		kept = append(kept, plugin.Field{Name: strings.Clone(line.Name), Value: strings.Clone(line.Value)})
	}
	return kept
}

// variant copies the lines of the request that the answer says it depends on.
func variant(answer, request *plugin.Header) []plugin.Field {
	var all []plugin.Field
	for line := range answer.Values("Vary") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				all = append(all, plugin.Field{Name: strings.Clone(name), Value: strings.Clone(request.Get(name))})
			}
		}
	}
	return all
}
