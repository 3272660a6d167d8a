// Package proxycache keeps answers of upstreams and gives them to later requests of the same
// kind.
//
// It knows which requests are of one kind, which answers may be kept and for how long; the
// store knows only keys, ages and sizes. Enter at Definition.
package proxycache

import (
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the rules. The config is one that went through the schema, so its lists have
// their defaults.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) { return compile(c, shared), nil }

const defaultTTL = 300 * time.Second

func compile(c *Config, s *Store) *filter {
	f := &filter{
		store: s, methods: c.GetRequestMethod(), obey: c.GetCacheControl(), foldCase: c.GetIgnoreUriCase(),
		ttl: defaultTTL, codes: map[int]bool{}, types: mediaTypes(c.GetContentType()),
		arguments: c.GetVaryQueryParams(), headers: slices.Clone(c.GetVaryHeaders()),
		tellAge: true, tellStatus: true, tellKey: true,
	}
	if r := c.GetResponseHeaders(); r != nil {
		f.tellAge, f.tellStatus, f.tellKey = yes(r.Age), yes(r.XCacheStatus), yes(r.XCacheKey)
	}
	for i, name := range f.headers {
		f.headers[i] = strings.ToLower(name)
	}
	slices.Sort(f.headers)
	for _, code := range c.GetResponseCode() {
		f.codes[int(code)] = true
	}
	if c.CacheTtl != nil {
		f.ttl = seconds(c.GetCacheTtl())
	}
	if c.StorageTtl != nil {
		f.kept = seconds(c.GetStorageTtl())
	}
	return f
}

// yes reads a switch that is on when nothing is said.
func yes(b *bool) bool { return b == nil || *b }

// seconds bounds a time by a century, which a duration holds.
func seconds(n int64) time.Duration { return time.Duration(min(n, 100*365*86400)) * time.Second }

type filter struct {
	store    *Store
	methods  []string
	codes    map[int]bool
	types    []mediaType
	obey     bool // Cache-Control of both sides
	foldCase bool
	ttl      time.Duration
	kept     time.Duration // 0: as long as it is fresh

	arguments, headers           []string // that tell answers apart; no arguments: all
	tellAge, tellStatus, tellKey bool
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// pending is an answer that may be kept when it comes.
type pending struct {
	key   string
	asked time.Time
}

// OnRequest answers from the store when it can.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	var d directives
	if f.obey {
		d = parseDirectives(&x.Request.Header)
	}
	if !f.mayAsk(x, &d) {
		f.status(x, &x.Early, "Bypass")
		return plugin.Next
	}
	key := f.key(x)
	if f.tellKey || debugged(x) {
		x.Early.Set("X-Cache-Key", key)
	}
	now := x.Times.Start
	e := f.store.get(key, now)
	switch {
	case e != nil && e.sameVariant(&x.Request.Header):
	case d.onlyIfCached:
		return plugin.Exit(504, "", "").Because("not-cached")
	default:
		return f.pass(x, key, "Miss")
	}
	if !d.accepts(e, now) {
		return f.pass(x, key, "Refresh")
	}
	return f.hit(x, e, now)
}

// mayAsk tells whether requests of this kind are served from the store at all.
func (f *filter) mayAsk(x *plugin.Exchange, d *directives) bool {
	if !slices.Contains(f.methods, x.Request.Method) {
		return false
	}
	if !f.obey {
		return true
	}
	_, authorized := x.Request.Header.Lookup("Authorization")
	return !d.noStore && !d.noCache && !authorized
}

func (f *filter) pass(x *plugin.Exchange, key, status string) plugin.Verdict {
	f.status(x, &x.Early, status)
	x.Put(f, &pending{key: strings.Clone(key), asked: x.Times.Start})
	return plugin.Next
}

// hit answers with what is kept. Lines that this exchange has of its own give way, as in
// Kong 3.9.1.
func (f *filter) hit(x *plugin.Exchange, e *Entry, now time.Time) plugin.Verdict {
	for _, line := range e.Header {
		x.Early.Del(line.Name)
	}
	for _, line := range e.Header {
		x.Early.Append(line.Name, line.Value)
	}
	if f.tellAge || debugged(x) {
		x.Early.Set("Age", x.Decimal(int64(now.Sub(e.Stored)/time.Second)))
	}
	f.status(x, &x.Early, "Hit")
	x.Put(f, e)
	return plugin.Exit(e.Status, e.contentType, e.Body).Kept().Because("cached")
}

func (f *filter) status(x *plugin.Exchange, h *plugin.Header, status string) {
	if f.tellStatus || debugged(x) {
		h.Set("X-Cache-Status", status)
	}
}

// debugged tells whether a request asks for all lines of the cache, as it may with Kong.
func debugged(x *plugin.Exchange) bool {
	_, asked := x.Request.Header.Lookup("Kong-Debug")
	return asked
}
