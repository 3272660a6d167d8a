package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
)

// kongSettings are settings in Kong's words: of a kong.conf, and of KONG_ variables, which
// win over it.
type kongSettings map[string]string

// readKong reads a kong.conf ("" for none) and the environment.
func readKong(file string, environ []string) (kongSettings, error) {
	s := kongSettings{}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--kong-conf: %w", err)
		}
		defer f.Close()
		if err := s.read(f); err != nil {
			return nil, fmt.Errorf("--kong-conf %s: %w", file, err)
		}
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if key, ok := strings.CutPrefix(name, "KONG_"); ok {
			s[strings.ToLower(key)] = strings.TrimSpace(value)
		}
	}
	return s, nil
}

// read takes lines "key = value"; "#" begins a comment unless a backslash stands before it.
func (s kongSettings) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // declarative_config_string may be long
	for n := 1; lines.Scan(); n++ {
		line := stripComment(lines.Text())
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("line %d: expected key = value, got %q", n, line)
		}
		s[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return lines.Err()
}

func stripComment(line string) string {
	for i := 0; i < len(line); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] != '\\') {
			line = line[:i]
			break
		}
	}
	return strings.ReplaceAll(strings.TrimSpace(line), `\#`, "#")
}

// translation is Kong's settings in ours: flags by name, and what has no place here, each
// with the reason.
type translation struct {
	flags   map[string]string
	ignored map[string]string
}

// translators say what becomes of each of Kong's settings.
var translators = map[string]func(t *translation, s kongSettings, value string) error{
	"proxy_listen": func(t *translation, _ kongSettings, v string) error {
		return t.listeners("proxy_listen", v, "proxy-listen", "proxy-tls-listen")
	},
	"admin_listen": func(t *translation, _ kongSettings, v string) error {
		return t.listeners("admin_listen", v, "admin-listen", "")
	},
	"status_listen": func(t *translation, _ kongSettings, v string) error {
		return t.listeners("status_listen", v, "status-listen", "")
	},
	"admin_gui_listen": func(t *translation, _ kongSettings, v string) error {
		return t.listeners("admin_gui_listen", v, "console-listen", "")
	},
	"log_level":          same("log-level"),
	"router_flavor":      same("router-flavor"),
	"headers":            same("headers"),
	"headers_upstream":   same("headers-upstream"),
	"error_default_type": same("error-default-type"),

	"error_template_json":  same("error-template-json"),
	"error_template_html":  same("error-template-html"),
	"error_template_xml":   same("error-template-xml"),
	"error_template_plain": same("error-template-plain"),
	"ssl_cert":             firstFile("default-cert"),
	"ssl_cert_key":         firstFile("default-cert-key"),

	"allow_debug_header": onOff("allow-debug-header"),
	"dns_resolver":       same("dns-resolver"),
	"trusted_ips":        same("trusted-ips"),
	"real_ip_header":     same("real-ip-header"),
	"real_ip_recursive":  onOff("real-ip-recursive"),
	"node_id":            same("node-id"),
	"port_maps":          same("port-maps"),
	"stream_listen":      streamListeners,
	"database":           databaseURL,
	"nginx_http_client_max_body_size": func(t *translation, _ kongSettings, v string) error {
		n, err := nginxSize(v)
		t.flags["client-max-body-bytes"] = n
		return err
	},
}

// silent are settings that need no word: their work is done otherwise, or they only name
// what is the default here.
var silent = map[string]bool{
	"prefix": true, "pg_host": true, "pg_port": true, "pg_user": true, "pg_password": true, "pg_database": true,
	"pg_schema": true, "pg_ssl": true, "pg_ssl_verify": true, "nginx_daemon": true, "nginx_worker_processes": true,
	"nginx_user": true, "anonymous_reports": true, "lmdb_map_size": true, "mem_cache_size": true, "db_update_frequency": true,
	"worker_consistency": true, "worker_state_update_frequency": true, "proxy_access_log": true, "proxy_error_log": true,
	"admin_access_log": true, "admin_error_log": true,
}

// translate says Kong's settings in ours.
func (s kongSettings) translate() (*translation, error) {
	t := &translation{flags: map[string]string{}, ignored: map[string]string{}}
	keys := make([]string, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, key := range keys {
		f := translators[key]
		if f == nil {
			if !silent[key] {
				t.ignored[key] = "has no counterpart here"
			}
			continue
		}
		if s[key] == "" {
			continue
		}
		if err := f(t, s, s[key]); err != nil {
			return nil, fmt.Errorf("%s = %s: %w", key, s[key], err)
		}
	}
	if _, said := s["database"]; !said && s["pg_host"] != "" {
		return t, databaseURL(t, s, "postgres")
	}
	return t, nil
}

func same(flagName string) func(*translation, kongSettings, string) error {
	return func(t *translation, _ kongSettings, v string) error {
		t.flags[flagName] = v
		return nil
	}
}

// firstFile takes the first of a list: Kong's lists have one of each type of key.
func firstFile(flagName string) func(*translation, kongSettings, string) error {
	return func(t *translation, _ kongSettings, v string) error {
		first, more, _ := strings.Cut(v, ",")
		t.flags[flagName] = strings.TrimSpace(first)
		if more = strings.TrimSpace(more); more != "" {
			t.ignored[flagName+" "+more] = "only the first is used"
		}
		return nil
	}
}

// onOff reads Kong's booleans.
func onOff(flagName string) func(*translation, kongSettings, string) error {
	return func(t *translation, _ kongSettings, v string) error {
		switch v {
		case "on", "true":
			t.flags[flagName] = "true"
		case "off", "false":
			t.flags[flagName] = "false"
		default:
			return fmt.Errorf("expected on or off")
		}
		return nil
	}
}

// listeners reads "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl".
func (t *translation) listeners(key, value, plain, secure string) error {
	if value == "off" {
		t.flags[plain] = "off"
		if secure != "" {
			t.flags[secure] = "off"
		}
		return nil
	}
	if secure != "" {
		t.flags[plain], t.flags[secure] = "off", "off"
	}
	for _, entry := range strings.Split(value, ",") {
		words := strings.Fields(entry)
		if len(words) == 0 {
			continue
		}
		if _, _, err := net.SplitHostPort(words[0]); err != nil {
			return err
		}
		to, door := plain, words[0]
		if slices.Contains(words[1:], "ssl") {
			to = secure
		}
		if slices.Contains(words[1:], "proxy_protocol") {
			door += " proxy_protocol"
		}
		switch {
		case to == "":
			t.ignored[key+" "+words[0]] = "TLS on this listener is not served"
		case t.flags[to] != "" && t.flags[to] != "off":
			t.ignored[key+" "+words[0]] = "only one address of a kind is served"
		default:
			t.flags[to] = door
		}
	}
	return nil
}

// streamListeners reads "0.0.0.0:9000 reuseport, 0.0.0.0:9443 ssl": the words that have a
// meaning here stay.
func streamListeners(t *translation, _ kongSettings, value string) error {
	var doors []string
	for entry := range strings.SplitSeq(value, ",") {
		words := strings.Fields(entry)
		if len(words) == 0 || words[0] == "off" {
			continue
		}
		if _, _, err := net.SplitHostPort(words[0]); err != nil {
			return err
		}
		if slices.Contains(words[1:], "udp") {
			t.ignored["stream_listen "+words[0]] = "UDP is not served"
			continue
		}
		kept := slices.DeleteFunc(words[1:], func(w string) bool { return w != "ssl" && w != "proxy_protocol" })
		doors = append(doors, strings.Join(append([]string{words[0]}, kept...), " "))
	}
	t.flags["stream-listen"] = strings.Join(doors, ", ")
	if len(doors) == 0 {
		t.flags["stream-listen"] = "off"
	}
	return nil
}

// databaseURL puts the pg_ settings into one URL; "off" is the embedded store.
func databaseURL(t *translation, s kongSettings, database string) error {
	if database == "off" {
		return nil
	}
	if database != "postgres" {
		return fmt.Errorf("expected postgres or off")
	}
	get := func(key, otherwise string) string {
		if v := s["pg_"+key]; v != "" {
			return v
		}
		return otherwise
	}
	u := url.URL{Scheme: "postgres", Host: net.JoinHostPort(get("host", "127.0.0.1"), get("port", "5432")), Path: "/" + get("database", "kong")}
	u.User = url.User(get("user", "kong"))
	if p := s["pg_password"]; p != "" {
		u.User = url.UserPassword(get("user", "kong"), p)
	}
	q := url.Values{}
	switch {
	case s["pg_ssl"] != "on" && s["pg_ssl"] != "true":
		q.Set("sslmode", "disable")
	case s["pg_ssl_verify"] == "on" || s["pg_ssl_verify"] == "true":
		q.Set("sslmode", "verify-full")
	default:
		q.Set("sslmode", "require")
	}
	if schema := s["pg_schema"]; schema != "" {
		q.Set("search_path", schema)
	}
	u.RawQuery = q.Encode()
	t.flags["database-url"] = u.String()
	return nil
}

// nginxSize reads nginx's sizes: 10m, 8k, 0.
func nginxSize(v string) (string, error) {
	units := map[byte]uint64{'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}
	unit := uint64(1)
	digits := strings.ToLower(v)
	if n := len(digits); n > 0 && units[digits[n-1]] != 0 {
		unit, digits = units[digits[n-1]], digits[:n-1]
	}
	var n uint64
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || fmt.Sprint(n) != digits {
		return "", fmt.Errorf("expected a size such as 10m")
	}
	return fmt.Sprint(n * unit), nil
}
