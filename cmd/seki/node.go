package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/adminapi"
	"github.com/sekifuda/sekifuda/dataplane"
)

// node tells the Admin API of this process, in Kong's words.
type node struct {
	id       string
	level    *logLevel
	gate     *dataplane.DataPlane // nil: the control plane alone
	settings *officeSettings
	flavor   string
	proxies  *gateSettings // nil: the control plane alone
	status   string        // address of the status listener
}

// Info implements adminapi.Node. To clients the embedded store is "postgres", as tools ask
// for that word to tell a gateway with a database from one without.
func (n *node) Info() map[string]any {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	body := map[string]any{
		"version": "3.9.1", "edition": "community", "tagline": "Welcome to kong", "lua_version": "LuaJIT 2.1.1700206165",
		"sekifuda_version": version, "hostname": hostname, "node_id": n.id,
		"timers": map[string]any{"running": runtime.NumGoroutine(), "pending": 0},
		"pids":   map[string]any{"master": os.Getpid(), "workers": []int{os.Getpid()}},
		"configuration": map[string]any{
			"database": "postgres", "router_flavor": n.flavor, "role": "traditional",
			"headers":     []string{"server_tokens", "latency_tokens", "x-kong-request-id"},
			"trusted_ips": map[string]any{}, "upstream_keepalive_pool_size": 512, "db_update_frequency": 5,
			"worker_state_update_frequency": 5, "admin_listen": []string{n.settings.adminListen},
			"pg_password": "******", "portal": false, "rbac": "off", "wasm": false, "log_level": n.level.Word(),
		},
	}
	n.addListeners(body["configuration"].(map[string]any))
	return body
}

// Status implements adminapi.Node.
func (n *node) Status(unit string, scale int) map[string]any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var c dataplane.Counts
	if n.gate != nil {
		c = n.gate.Counts()
	}
	dict := map[string]any{"allocated_slabs": size(m.HeapInuse, unit, scale), "capacity": size(m.HeapSys, unit, scale)}
	return map[string]any{
		"server": map[string]any{
			"connections_active": c.Active, "connections_accepted": c.Accepted, "connections_handled": c.Handled,
			"connections_reading": c.Reading, "connections_writing": c.Writing, "connections_waiting": c.Waiting,
			"total_requests": c.Requests,
		},
		"memory": map[string]any{
			"workers_lua_vms":  []any{map[string]any{"pid": os.Getpid(), "http_allocated_gc": size(m.HeapAlloc, unit, scale)}},
			"lua_shared_dicts": map[string]any{"kong": dict, "kong_db_cache": dict},
		},
	}
}

// ServeHTTP answers GET /status of a node without a control plane, as Kong's data planes do.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unit, scale, complaint := adminapi.Units(r.URL.Query())
	if complaint != "" {
		answerJSON(w, http.StatusBadRequest, map[string]any{"message": complaint})
		return
	}
	body := n.Status(unit, scale)
	body["configuration_hash"] = n.gate.Running().Hash.String()[:32]
	answerJSON(w, http.StatusOK, body)
}

// size words bytes as Kong does: "0.02 MiB", or a plain number in bytes.
func size(b uint64, unit string, scale int) any {
	if unit == "b" {
		return b
	}
	div := map[string]float64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[unit]
	name := map[string]string{"k": "KiB", "m": "MiB", "g": "GiB"}[unit]
	return strconv.FormatFloat(float64(b)/div, 'f', scale, 64) + " " + name
}

// LogLevel implements adminapi.Node.
func (n *node) LogLevel() string { return n.level.Word() }

// SetLogLevel implements adminapi.Node.
func (n *node) SetLogLevel(level string, d time.Duration) error {
	if err := n.level.Set(level, d); err != nil {
		return fmt.Errorf("set log level: %w", err)
	}
	return nil
}
