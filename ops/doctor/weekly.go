package doctor

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

// backupAge is how old the newest backup may be.
const backupAge = 8 * 24 * time.Hour

func backupFresh(_ context.Context, p *patient) result {
	if p.Backups == "" {
		return skip("no folder of backups is named (--backups)")
	}
	newest, files, err := newestFile(p.Backups)
	switch {
	case err != nil:
		return ill(ops.Critical, "make one, and name its folder by --backups", "backups cannot be read: %v", err)
	case files == 0:
		return ill(ops.Critical, "make one now", "no backup in %s", p.Backups)
	}
	if age := p.Now().Sub(newest); age > backupAge {
		return ill(ops.Warning, "make one now, and look why none was made", "the newest backup is %d days old", int(age.Hours()/24))
	}
	return well("the newest backup is from %s", newest.Format(time.DateTime))
}

func newestFile(dir string) (newest time.Time, files int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return nil
	})
	return newest, files, err
}

// rounds is how many requests the performance run sends: the guide's ten, and five at once.
const (
	rounds   = 10
	parallel = 5
)

// performance sends requests that no route need match: what is measured is the gate.
func performance(ctx context.Context, p *patient) result {
	if p.reading.ProxyError != "" {
		return skip("the proxy does not answer")
	}
	took := make([]time.Duration, 0, rounds+parallel)
	for range rounds {
		_, _, d, err := p.Stack.Get(ctx, p.Stack.Proxy+"/")
		if err != nil {
			return ill(ops.Critical, "look at the node's log", "a request in the performance run failed: %v", err)
		}
		took = append(took, d)
	}
	answers := make(chan time.Duration, parallel)
	for range parallel {
		go func() {
			_, _, d, err := p.Stack.Get(ctx, p.Stack.Proxy+"/")
			if err != nil {
				d = time.Hour
			}
			answers <- d
		}()
	}
	for range parallel {
		took = append(took, <-answers)
	}
	slices.Sort(took)
	if worst := took[len(took)-1]; worst > 100*time.Millisecond {
		return ill(ops.Warning, "look at load and memory of the node", "the slowest of %d requests took %v, the guide aims at 100 ms", len(took), worst.Round(time.Millisecond))
	}
	return well("%d requests took %v to %v", len(took), took[0].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}

// probe is a request through a route that a plugin must refuse.
type probe struct {
	plugin string
	method string
	header []string
	body   []byte
	want   []int
	fix    string
}

// works sends the probe to every route where the plugin is configured, as far as a request to
// the route can be made from what the route says.
func (p *patient) works(ctx context.Context, q probe) result {
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	sent := 0
	for _, pl := range plugins {
		if pl.Text("name") != q.plugin || pl["enabled"] == false || pl.Ref("consumer") != "" {
			continue
		}
		routes, bad := p.routesOf(ctx, pl)
		if bad != nil {
			return *bad
		}
		for _, r := range routes {
			status, ok, err := p.send(ctx, r, q)
			if !ok {
				continue
			}
			sent++
			if err != nil {
				return ill(ops.Critical, "look at the node's log", "%s could not be tried on route %s: %v", q.plugin, label(r), err)
			}
			if !slices.Contains(q.want, status) {
				return ill(ops.Critical, q.fix, "%s on route %s lets a request pass that it must refuse: it was answered %d", q.plugin, label(r), status)
			}
		}
	}
	if sent == 0 {
		return skip("%s is not configured where it can be tried", q.plugin)
	}
	return well("%s refuses what it must, on %d routes", q.plugin, sent)
}

// routesOf are the routes on which a plugin acts.
func (p *patient) routesOf(ctx context.Context, pl ops.Entity) ([]ops.Entity, *result) {
	routes, bad := p.list(ctx, "routes")
	if bad != nil {
		return nil, bad
	}
	const few = 5 // of a global plugin: one that works on five works
	var all []ops.Entity
	for _, r := range routes {
		if route := pl.Ref("route"); route != "" && route != r.Text("id") {
			continue
		}
		if service := pl.Ref("service"); service != "" && service != r.Ref("service") {
			continue
		}
		if all = append(all, r); len(all) == few {
			break
		}
	}
	return all, nil
}

// send makes a request that matches a route. It is false for routes that a request cannot be
// made for: of regexes, of other protocols, of names of TLS.
func (p *patient) send(ctx context.Context, r ops.Entity, q probe) (status int, ok bool, err error) {
	path := "/"
	if paths, _ := r["paths"].([]any); len(paths) > 0 {
		path, _ = paths[0].(string)
	}
	protocols, _ := r["protocols"].([]any)
	if strings.HasPrefix(path, "~") || !slices.Contains(protocols, any("http")) || r.Member("headers") != nil || r["snis"] != nil {
		return 0, false, nil
	}
	method := q.method
	if methods, _ := r["methods"].([]any); len(methods) > 0 {
		if !slices.Contains(methods, any(method)) {
			if q.body != nil {
				return 0, false, nil
			}
			method, _ = methods[0].(string)
		}
	}
	header := append([]string{"User-Agent", "curl/8 (seki doctor)"}, q.header...)
	if hosts, _ := r["hosts"].([]any); len(hosts) > 0 {
		host, _ := hosts[0].(string)
		if strings.Contains(host, "*") {
			return 0, false, nil
		}
		header = append(header, "Host", host)
	}
	status, _, _, err = p.Stack.Do(ctx, method, p.Stack.Proxy+path, bytes.NewReader(q.body), header...)
	return status, true, err
}

// Refusals by what runs before the plugin count as well: the request did not pass.
var refusals = []int{401, 403, 413, 417, 429}

func keyAuthWorks(ctx context.Context, p *patient) result {
	return p.works(ctx, probe{plugin: "key-auth", method: http.MethodGet, want: refusals, fix: "look for config.anonymous, and for another plugin that answers first"})
}

func basicAuthWorks(ctx context.Context, p *patient) result {
	return p.works(ctx, probe{plugin: "basic-auth", method: http.MethodGet, want: refusals, fix: "look for config.anonymous, and for another plugin that answers first"})
}

func jwtWorks(ctx context.Context, p *patient) result {
	return p.works(ctx, probe{plugin: "jwt", method: http.MethodGet, want: refusals, fix: "look for config.anonymous, and for another plugin that answers first"})
}

// botDetectionWorks wants its own answer: it comes before all that asks who a client is.
func botDetectionWorks(ctx context.Context, p *patient) result {
	return p.works(ctx, probe{
		plugin: "bot-detection", method: http.MethodGet, header: []string{"User-Agent", "Googlebot/2.1 (seki doctor)"}, want: []int{http.StatusForbidden},
		fix: "an allow rule may match more than it should",
	})
}

// configured are the enabled configurations of a plugin; without any the check that asks is skipped.
func (p *patient) configured(ctx context.Context, plugin string) ([]ops.Entity, *result) {
	plugins, bad := p.list(ctx, "plugins")
	if bad != nil {
		return nil, bad
	}
	var all []ops.Entity
	for _, pl := range plugins {
		if pl.Text("name") == plugin && pl["enabled"] != false {
			all = append(all, pl)
		}
	}
	if len(all) == 0 {
		none := skip("%s is not configured", plugin)
		return nil, &none
	}
	return all, nil
}

// ipRanges cannot come from another address; it looks whether the ranges exclude
// anything.
func ipRanges(ctx context.Context, p *patient) result {
	all, bad := p.configured(ctx, "ip-restriction")
	if bad != nil {
		return *bad
	}
	for _, pl := range all {
		allow, _ := pl.Member("config")["allow"].([]any)
		for _, a := range allow {
			if a == "0.0.0.0/0" || a == "::/0" {
				return ill(ops.Warning, "name the ranges that are meant", "ip-restriction %s allows every address: %v", pl.Text("id"), a)
			}
		}
	}
	return well("ip-restriction excludes something in %d places", len(all))
}

// sizeLimits looks whether what is allowed is a limit at all.
func sizeLimits(ctx context.Context, p *patient) result {
	all, bad := p.configured(ctx, "request-size-limiting")
	if bad != nil {
		return *bad
	}
	for _, pl := range all {
		size, _ := pl.Member("config")["allowed_payload_size"].(float64)
		if unit := pl.Member("config").Text("size_unit"); size > 1024 && unit != "kilobytes" && unit != "bytes" {
			return ill(ops.Warning, "10 MB is the guide's limit", "request-size-limiting %s allows %v %s", pl.Text("id"), size, unit)
		}
	}
	return well("bodies are limited in %d places", len(all))
}

// rateLimits looks for limits, and for those that turn an outage of Redis into one of the gateway.
func rateLimits(ctx context.Context, p *patient) result {
	all, bad := p.configured(ctx, "rate-limiting")
	if bad != nil {
		if bad.skip && p.failed["plugins"] == nil {
			return ill(ops.Warning, "add rate-limiting where clients come from outside", "nothing is rate-limited")
		}
		return *bad
	}
	for _, pl := range all {
		if c := pl.Member("config"); c["fault_tolerant"] == false && c.Text("policy") == "redis" {
			return ill(ops.Warning, "set fault_tolerant, or an outage mode that admits a share", "rate-limiting %s answers 500 while Redis is away", pl.Text("id"))
		}
	}
	return well("rates are limited in %d places", len(all))
}

// actsOn reports whether one of the plugins named acts on a route.
func actsOn(r ops.Entity, plugins []ops.Entity, named ...string) bool {
	for _, pl := range plugins {
		if !slices.Contains(named, pl.Text("name")) || pl["enabled"] == false {
			continue
		}
		route, service := pl.Ref("route"), pl.Ref("service")
		if (route == "" || route == r.Text("id")) && (service == "" || service == r.Ref("service")) {
			return true
		}
	}
	return false
}

func (p *patient) routesWithout(ctx context.Context, what, fix string, plugins ...string) result {
	routes, bad := p.list(ctx, "routes")
	if bad != nil {
		return *bad
	}
	all, bad := p.list(ctx, "plugins")
	if bad != nil {
		return *bad
	}
	var without []ops.Entity
	for _, r := range routes {
		if !actsOn(r, all, plugins...) {
			without = append(without, r)
		}
	}
	if len(without) > 0 {
		return ill(ops.Warning, fix, "%s: %s", what, names(without, label))
	}
	return well("%d routes, none of them is open", len(routes))
}

func unprotectedRoutes(ctx context.Context, p *patient) result {
	return p.routesWithout(ctx, "routes that anybody may use", "add key-auth, or tell that it is meant by ip-restriction",
		"key-auth", "basic-auth", "jwt", "hmac-auth", "ip-restriction", "acl", "request-termination", "redirect", "standard-webhooks")
}

func limitedRoutes(ctx context.Context, p *patient) result {
	return p.routesWithout(ctx, "routes without a limit of requests", "add rate-limiting", "rate-limiting", "response-ratelimiting", "request-termination", "redirect")
}

func logSize(_ context.Context, p *patient) result {
	if p.Logs == "" {
		return skip("no folder of logs is named (--logs)")
	}
	var size int64
	err := filepath.WalkDir(p.Logs, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		return ill(ops.Warning, "let this user read it", "logs cannot be read: %v", err)
	}
	const much = 10 << 30
	if size > much {
		return ill(ops.Warning, "rotate them: seki reopens its files at SIGHUP", "logs take %s", bytesText(size))
	}
	return well("logs take %s", bytesText(size))
}

func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}
