package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

func versionKnown(ctx context.Context, p *patient) result {
	var info map[string]any
	if err := p.Stack.JSON(ctx, "/", &info); err != nil {
		return skip("the version cannot be read: %v", err)
	}
	return well("compatible with Kong %v; seki version tells our own, the release notes what is newer", info["version"])
}

func unusedServices(ctx context.Context, p *patient) result {
	services, bad := p.list(ctx, "services")
	if bad != nil {
		return *bad
	}
	routes, bad := p.list(ctx, "routes")
	if bad != nil {
		return *bad
	}
	used := map[string]bool{}
	for _, r := range routes {
		used[r.Ref("service")] = true
	}
	var idle []ops.Entity
	for _, s := range services {
		if !used[s.Text("id")] {
			idle = append(idle, s)
		}
	}
	if len(idle) > 0 {
		return ill(ops.Warning, "delete them, or give them a route", "services without a route: %s", names(idle, label))
	}
	return well("each of %d services has a route", len(services))
}

func routesWithoutService(ctx context.Context, p *patient) result {
	routes, bad := p.list(ctx, "routes")
	if bad != nil {
		return *bad
	}
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	var dead []ops.Entity
	for _, r := range routes {
		if r.Ref("service") == "" && !actsOn(r, plugins, "request-termination", "redirect", "ai-proxy") {
			dead = append(dead, r)
		}
	}
	if len(dead) > 0 {
		return ill(ops.Warning, "give them a service: requests there are answered 503", "routes without a service: %s", names(dead, label))
	}
	return well("no route leads nowhere")
}

func disabledPlugins(ctx context.Context, p *patient) result {
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	off := slices.DeleteFunc(slices.Clone(plugins), func(pl ops.Entity) bool { return pl["enabled"] != false })
	if len(off) > 0 {
		return ill(ops.Warning, "enable or delete them", "plugins that are switched off: %s", names(off, func(e ops.Entity) string { return e.Text("name") }))
	}
	return well("all %d plugins are enabled", len(plugins))
}

// credentialPaths are where credentials are listed at large.
var credentialPaths = []string{"key-auths", "basic-auths", "hmac-auths", "jwts"}

func consumersWithoutCredentials(ctx context.Context, p *patient) result {
	consumers, bad := p.list(ctx, "consumers")
	if bad != nil {
		return *bad
	}
	has := map[string]bool{}
	for _, path := range credentialPaths {
		all, bad := p.list(ctx, path)
		if bad != nil {
			return *bad
		}
		for _, c := range all {
			has[c.Ref("consumer")] = true
		}
	}
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	for _, pl := range plugins {
		has[pl.Member("config").Text("anonymous")] = true
	}
	idle := slices.DeleteFunc(slices.Clone(consumers), func(c ops.Entity) bool { return has[c.Text("id")] || has[c.Text("username")] })
	if len(idle) > 0 {
		return ill(ops.Warning, "delete them, or give them a credential", "consumers without a credential: %s", names(idle, label))
	}
	return well("each of %d consumers has a credential", len(consumers))
}

// shortKey is the length below which a key can be guessed.
const shortKey = 12

func shortKeys(ctx context.Context, p *patient) result {
	keys, bad := p.list(ctx, "key-auths")
	if bad != nil {
		return *bad
	}
	n := 0
	for _, k := range keys {
		if len(k.Text("key")) < shortKey {
			n++
		}
	}
	if n > 0 {
		return ill(ops.Warning, "let the gateway make keys: POST /consumers/NAME/key-auth without a key", "%d API keys are shorter than %d characters", n, shortKey)
	}
	return well("%d API keys are long enough", len(keys))
}

// keysThatEnd is about credentials with a ttl that is nearly over: their holders will be
// refused without a warning.
func keysThatEnd(ctx context.Context, p *patient) result {
	keys, bad := p.list(ctx, "key-auths")
	if bad != nil {
		return *bad
	}
	soon := 0
	for _, k := range keys {
		if ttl, ok := k["ttl"].(float64); ok && ttl > 0 && ttl < expiresNow.Seconds() {
			soon++
		}
	}
	if soon > 0 {
		return ill(ops.Warning, "give their holders new ones", "%d API keys end within a week", soon)
	}
	return well("no API key ends within a week")
}

func duplicateRoutes(ctx context.Context, p *patient) result {
	routes, bad := p.list(ctx, "routes")
	if bad != nil {
		return *bad
	}
	seen := map[string]ops.Entity{}
	for _, r := range routes {
		what := fmt.Sprint(r["hosts"], r["paths"], r["methods"], r["headers"], r["snis"], r["sources"], r["destinations"], r["protocols"], r["expression"])
		if other, twice := seen[what]; twice {
			return ill(ops.Warning, "delete one: which of them is used is a matter of their ids", "routes %s and %s match the same", label(other), label(r))
		}
		seen[what] = r
	}
	return well("no two of %d routes match the same", len(routes))
}

func insecureUpstreams(ctx context.Context, p *patient) result {
	services, bad := p.list(ctx, "services")
	if bad != nil {
		return *bad
	}
	var open []ops.Entity
	for _, s := range services {
		if s.Text("protocol") == "https" && s["tls_verify"] == false {
			open = append(open, s)
		}
	}
	if len(open) > 0 {
		return ill(ops.Warning, "remove tls_verify: false, and give ca_certificates", "services whose certificate is not verified: %s", names(open, label))
	}
	return well("no service asks that certificates are not verified")
}

func adminOpen(_ context.Context, p *patient) result {
	host := strings.TrimPrefix(strings.TrimPrefix(p.Stack.Admin, "http://"), "https://")
	if strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "localhost") || strings.HasPrefix(host, "[::1]") {
		return well("the Admin API is asked on loopback")
	}
	if p.reading.AdminError == "" {
		return ill(ops.Warning, "require a token, or listen on loopback", "the Admin API answers at %s without authentication", host)
	}
	return skip("the Admin API does not answer")
}

func limitsAcrossNodes(ctx context.Context, p *patient) result {
	nodes, bad := p.fleet(ctx)
	if bad != nil {
		return *bad
	}
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	if len(nodes) < 2 {
		return well("one node counts all requests")
	}
	var apart []ops.Entity
	for _, pl := range plugins {
		if (pl.Text("name") == "rate-limiting" || pl.Text("name") == "response-ratelimiting") && pl.Member("config").Text("policy") == "local" {
			apart = append(apart, pl)
		}
	}
	if len(apart) > 0 {
		return ill(ops.Warning, "set policy: redis, so that nodes count together", "%d limits count on each of %d nodes apart", len(apart), len(nodes))
	}
	return well("limits count across %d nodes", len(nodes))
}

// drillAge is how long ago the last rehearsal of a restore may be.
const drillAge = 35 * 24 * time.Hour

func drillFresh(_ context.Context, p *patient) result {
	if p.Backups == "" {
		return skip("no folder of backups is named (--backups)")
	}
	newest, files, err := newestFile(filepath.Join(p.Backups, "drills"))
	if err != nil || files == 0 {
		return ill(ops.Warning, "restore the newest backup into an empty database, and note it in "+filepath.Join(p.Backups, "drills"), "no rehearsal of a restore is noted")
	}
	if age := p.Now().Sub(newest); age > drillAge {
		return ill(ops.Warning, "rehearse a restore", "the last rehearsal of a restore was %d days ago", int(age.Hours()/24))
	}
	return well("a restore was rehearsed on %s", newest.Format(time.DateOnly))
}
