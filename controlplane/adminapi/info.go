package adminapi

import (
	"context"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/model/schema"
)

// Fleet tells of the nodes, for /clustering.
type Fleet interface {
	// DataPlanes are the rows of /clustering/data-planes, ascending by id.
	DataPlanes(ctx context.Context) []map[string]any
}

// registerNode makes the paths that tell of the process rather than of entities.
func (a *API) registerNode() {
	a.handle("/", only("GET", (*request).info))
	a.handle("/status", only("GET", (*request).status))
	a.handle("/endpoints", only("GET", (*request).endpoints))
	a.handle("/plugins/enabled", only("GET", (*request).enabledPlugins))
	a.handle("/plugins/schema/{name}", only("GET", (*request).pluginConfigSchema))
	a.handle("/schemas/{name}", only("GET", (*request).entitySchema))
	a.handle("/schemas/{db_entity_name}/validate", only("POST", (*request).validate))
	for _, kind := range []string{"plugins", "vaults"} { // beside the names that stand there
		a.handle("/schemas/"+kind+"/validate", only("POST", func(q *request) error {
			return q.validateAs(q.Config.Schema().Table(kind))
		}))
	}
	a.handle("/schemas/plugins/{name}", only("GET", (*request).pluginSchema))
	a.handle("/schemas/vaults/{name}", only("GET", (*request).vaultSchema))
	a.handle("/tags", only("GET", func(q *request) error { return q.tags("") }))
	a.handle("/tags/{tags}", only("GET", func(q *request) error { return q.tags(q.wild[0]) }))
	a.handle("/timers", only("GET", (*request).timers))
	a.handle("/status/dns", only("GET", (*request).dns))
	a.handle("/cache", only("DELETE", (*request).dropCache))
	a.handle("/cache/{key}", map[string]handler{"GET": notFound, "DELETE": (*request).dropCache})
	a.handle("/debug/node/log-level", only("GET", (*request).logLevel))
	a.handle("/debug/node/log-level/{log_level}", only("PUT", func(q *request) error { return q.setLogLevel(nil) }))
	a.handle("/debug/cluster/log-level/{log_level}", only("PUT", func(q *request) error { return q.setLogLevel(q.LogLevel) }))
	a.handle("/clustering/data-planes", only("GET", (*request).dataPlanes))
	a.handle("/clustering/status", only("GET", (*request).clusteringStatus))
	for _, path := range []string{"/filter-chains", "/filter-chains/{filter_chains}"} {
		a.handle(path, only("GET", noWasm))
	}
	if a.Metrics != nil {
		a.handle("/metrics", only("GET", (*request).metrics))
	}
}

func noWasm(*request) error {
	return &answered{http.StatusBadRequest, "this endpoint is only available when wasm is enabled"}
}

func (q *request) info() error {
	body := q.Node.Info()
	available := map[string]any{}
	for _, p := range q.Plugins.All() {
		available[p.Name] = map[string]any{"priority": p.Priority, "version": p.Version}
	}
	enabled, err := q.pluginsInUse()
	if err != nil {
		// Kong tells about itself also while its database is away.
		q.Log.Warn("list plugins in use", "error", err)
		enabled = []any{}
	}
	body["plugins"] = map[string]any{"available_on_server": available, "enabled_in_cluster": enabled}
	q.json(http.StatusOK, body)
	return nil
}

// pluginsInUse are the distinct names of configured plugins.
func (q *request) pluginsInUse() ([]any, error) {
	names, err := q.Config.PluginsInUse(q.r.Context())
	if err != nil {
		return nil, err
	}
	list := make([]any, len(names))
	for i, n := range names {
		list[i] = n
	}
	return list, nil
}

func (q *request) status() error {
	unit, scale, complaint := Units(q.r.URL.Query())
	if complaint != "" {
		return &answered{http.StatusBadRequest, complaint}
	}
	body := q.Node.Status(unit, scale)
	body["database"] = map[string]any{"reachable": q.Config.Ping(q.r.Context()) == nil}
	q.json(http.StatusOK, body)
	return nil
}

// Units reads in which unit and with how many decimals GET /status is asked to tell sizes; a
// complaint is what to answer instead.
func Units(args url.Values) (unit string, scale int, complaint string) {
	unit, scale = "m", 2
	if v := args.Get("unit"); v != "" {
		unit = strings.ToLower(v)
		if !strings.Contains("bkmg", unit) || len(unit) != 1 {
			return "", 0, "invalid unit '" + v + "' (expected 'k/K', 'm/M', or 'g/G')"
		}
	}
	if v := args.Get("scale"); v != "" {
		n, err := strconv.Atoi(v)
		if err == nil && n < 0 {
			return "", 0, "scale must be equal or greater than 0"
		}
		if err == nil {
			scale = n
		}
	}
	return unit, scale, ""
}

func (q *request) endpoints() error {
	q.json(http.StatusOK, map[string]any{"data": q.paths})
	return nil
}

func (q *request) enabledPlugins() error {
	names := []string{}
	for _, p := range q.Plugins.All() {
		names = append(names, p.Name)
	}
	q.json(http.StatusOK, map[string]any{"enabled_plugins": names})
	return nil
}

func (q *request) entitySchema() error {
	if t := q.Config.Schema().Table(q.wild[0]); t != nil {
		q.json(http.StatusOK, t.JSON())
	} else if s := strangers()[q.wild[0]]; s != nil {
		q.json(http.StatusOK, s)
	} else {
		return noEntity(q.wild[0])
	}
	return nil
}

func noEntity(name string) error {
	return &answered{http.StatusNotFound, "No entity named '" + name + "'"}
}

func (q *request) plugin() (*schema.Plugin, error) {
	p := q.Config.Schema().Plugin(q.wild[0])
	if p == nil {
		return nil, &answered{http.StatusNotFound, "No plugin named '" + q.wild[0] + "'"}
	}
	return p, nil
}

func (q *request) pluginSchema() error {
	p, err := q.plugin()
	if err != nil {
		return err
	}
	q.json(http.StatusOK, p.JSON())
	return nil
}

func (q *request) vaultSchema() error {
	v := q.Config.Schema().Table("vaults").Config(q.wild[0])
	if v == nil {
		return &answered{http.StatusNotFound, "No vault named '" + q.wild[0] + "'"}
	}
	q.json(http.StatusOK, v.JSON())
	return nil
}

// pluginConfigSchema is the deprecated /plugins/schema/{name}.
func (q *request) pluginConfigSchema() error {
	p, err := q.plugin()
	if err != nil {
		return err
	}
	q.json(http.StatusOK, p.ConfigJSON())
	return nil
}

func (q *request) validate() error {
	t := q.Config.Schema().Table(q.wild[0])
	if t == nil {
		return noEntity(q.wild[0])
	}
	return q.validateAs(t)
}

func (q *request) validateAs(t *schema.Table) error {
	body, err := q.untyped()
	if err != nil {
		return err
	}
	if err := q.Config.Validate(t, body); err != nil {
		return err
	}
	q.message(http.StatusOK, "schema validation successful")
	return nil
}

// timers answers in Kong's form with what stands in its timers' place: goroutines.
func (q *request) timers() error {
	running := runtime.NumGoroutine()
	q.json(http.StatusOK, map[string]any{
		"worker": map[string]any{"id": 0, "count": 1},
		"stats": map[string]any{
			"flamegraph": map[string]any{"running": "", "pending": "", "elapsed_time": ""},
			"sys":        map[string]any{"total": running, "runs": 0, "running": running, "pending": 0, "waiting": 0},
			"timers":     map[string]any{},
		},
	})
	return nil
}

func (q *request) dns() error {
	q.message(http.StatusNotImplemented, "not implemented with the legacy DNS client")
	return nil
}

// dropCache succeeds at once: nodes hold no copies of entities that could be stale.
func (q *request) dropCache() error {
	q.noContent()
	return nil
}

func (q *request) logLevel() error {
	q.message(http.StatusOK, "log level: "+q.Node.LogLevel())
	return nil
}

// logLevels are Kong's words, from the most talkative.
var logLevels = []string{"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"}

// setLogLevel changes this process's level; the whole cluster's by everywhere, when that is set.
func (q *request) setLogLevel(everywhere func(context.Context, string, time.Duration) error) error {
	level := q.wild[0]
	known := false
	for _, l := range logLevels {
		known = known || l == level
	}
	if !known {
		return &answered{http.StatusBadRequest, "unknown log level: " + level}
	}
	timeout := time.Minute
	if v := q.r.URL.Query().Get("timeout"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return &answered{http.StatusBadRequest, "timeout must be greater than or equal to 0"}
		}
		timeout = time.Duration(n) * time.Second
	}
	said := "log level changed"
	if level == q.Node.LogLevel() {
		said = "log level is already " + level
	}
	var err error
	switch {
	case everywhere != nil:
		err = everywhere(q.r.Context(), level, timeout) // the others may have another one
		q.unheard()
	case level != q.Node.LogLevel():
		err = q.Node.SetLogLevel(level, timeout)
	}
	if err != nil {
		return err
	}
	q.message(http.StatusOK, said)
	return nil
}

const noFleet = "this endpoint is only available when Kong is configured to run as Control Plane for the cluster"

func (q *request) dataPlanes() error {
	if q.Fleet == nil {
		return &answered{http.StatusBadRequest, noFleet}
	}
	rows := q.Fleet.DataPlanes(q.r.Context())
	q.unheard()
	q.json(http.StatusOK, map[string]any{"data": rows, "next": nil})
	return nil
}

func (q *request) clusteringStatus() error {
	if q.Fleet == nil {
		return &answered{http.StatusBadRequest, noFleet}
	}
	body := map[string]any{}
	for _, n := range q.Fleet.DataPlanes(q.r.Context()) {
		if id, ok := n["id"].(string); ok {
			body[id] = n
		}
	}
	q.unheard()
	q.w.Header().Set("Deprecation", "true")
	q.json(http.StatusOK, body)
	return nil
}

func (q *request) metrics() error {
	q.latency()
	q.Metrics.ServeHTTP(q.w, q.r)
	return nil
}
