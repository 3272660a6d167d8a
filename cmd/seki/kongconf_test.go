package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestKongSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conf    string
		environ []string
		flags   map[string]string
		ignored []string
		err     string
	}{
		"listeners": {
			conf: "proxy_listen = 0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl # both\nadmin_listen=127.0.0.1:8001, 127.0.0.1:8444 ssl",
			flags: map[string]string{
				"proxy-listen": "0.0.0.0:8000", "proxy-tls-listen": "0.0.0.0:8443", "admin-listen": "127.0.0.1:8001",
			},
			ignored: []string{"admin_listen 127.0.0.1:8444"},
		},
		"proxy protocol": {
			conf:  "proxy_listen = 0.0.0.0:8000 reuseport proxy_protocol\nreal_ip_header = proxy_protocol\nreal_ip_recursive = on",
			flags: map[string]string{"proxy-listen": "0.0.0.0:8000 proxy_protocol", "proxy-tls-listen": "off", "real-ip-header": "proxy_protocol", "real-ip-recursive": "true"},
		},
		"streams": {
			conf:    "stream_listen = 0.0.0.0:9000 reuseport backlog=1, 0.0.0.0:9443 ssl proxy_protocol, 0.0.0.0:53 udp\nrouter_flavor = expressions",
			flags:   map[string]string{"stream-listen": "0.0.0.0:9000, 0.0.0.0:9443 ssl proxy_protocol", "router-flavor": "expressions"},
			ignored: []string{"stream_listen 0.0.0.0:53"},
		},
		"marks": {
			conf:  "headers = off\nheaders_upstream = off\nerror_default_type = text/html\nallow_debug_header = on",
			flags: map[string]string{"headers": "off", "headers-upstream": "off", "error-default-type": "text/html", "allow-debug-header": "true"},
		},
		"name servers": {conf: "dns_resolver = 10.0.0.53:5353", flags: map[string]string{"dns-resolver": "10.0.0.53:5353"}},
		"no streams":   {conf: "stream_listen = off", flags: map[string]string{"stream-listen": "off"}},
		"off":          {conf: "proxy_listen = off", flags: map[string]string{"proxy-listen": "off", "proxy-tls-listen": "off"}},
		"environment wins": {
			conf: "log_level = debug", environ: []string{"KONG_LOG_LEVEL=warn", "HOME=/root"},
			flags: map[string]string{"log-level": "warn"},
		},
		"postgres": {
			conf:  "pg_host = db\npg_user = u\npg_password = p\\#w\npg_database = d",
			flags: map[string]string{"database-url": "postgres://u:p%23w@db:5432/d?sslmode=disable"},
		},
		"database off": {conf: "database = off\npg_host = db", flags: map[string]string{}},
		"body size":    {conf: "nginx_http_client_max_body_size = 10m", flags: map[string]string{"client-max-body-bytes": "10485760"}},
		"client addresses": {
			conf:  "trusted_ips = 10.0.0.0/8\nreal_ip_header = X-Forwarded-For\nreal_ip_recursive = on",
			flags: map[string]string{"trusted-ips": "10.0.0.0/8", "real-ip-header": "X-Forwarded-For", "real-ip-recursive": "true"},
		},
		"node id": {conf: "node_id = 592e1c2b-6678-45aa-80f9-78cfb29f5e31", flags: map[string]string{"node-id": "592e1c2b-6678-45aa-80f9-78cfb29f5e31"}},
		"error pages": {
			conf:  "error_template_json = /j\nerror_template_html = /h\nerror_template_xml = /x\nerror_template_plain = /p",
			flags: map[string]string{"error-template-json": "/j", "error-template-html": "/h", "error-template-xml": "/x", "error-template-plain": "/p"},
		},
		"default certificate": {
			conf:    "ssl_cert = /rsa.crt, /ec.crt\nssl_cert_key = /rsa.key",
			flags:   map[string]string{"default-cert": "/rsa.crt", "default-cert-key": "/rsa.key"},
			ignored: []string{"default-cert /ec.crt"},
		},
		"port maps":     {conf: "port_maps = 80:8000, 443:8443", flags: map[string]string{"port-maps": "80:8000, 443:8443"}},
		"bad switch":    {conf: "real_ip_recursive = maybe", err: "real_ip_recursive = maybe: expected on or off"},
		"not mapped":    {conf: "wasm = on", flags: map[string]string{}, ignored: []string{"wasm"}},
		"no equal sign": {conf: "\n\nproxy_listen", err: `line 3: expected key = value, got "proxy_listen"`},
		"bad size":      {conf: "nginx_http_client_max_body_size = ten", err: "nginx_http_client_max_body_size = ten: expected a size such as 10m"},
		"bad database":  {conf: "database = cassandra", err: "database = cassandra: expected postgres or off"},
		"bad listener":  {conf: "proxy_listen = 8000", err: "proxy_listen = 8000: address 8000: missing port in address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := readKong("", nil)
			if err == nil {
				err = s.read(strings.NewReader(c.conf))
			}
			env, _ := readKong("", c.environ)
			for k, v := range env {
				s[k] = v
			}
			var got *translation
			if err == nil {
				got, err = s.translate()
			}
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.flags, c.flags) {
				t.Errorf("flags %v, want %v", got.flags, c.flags)
			}
			if len(got.ignored) != len(c.ignored) {
				t.Errorf("ignored %v, want %v", got.ignored, c.ignored)
			}
			for _, key := range c.ignored {
				if got.ignored[key] == "" {
					t.Errorf("%s is not listed among %v", key, got.ignored)
				}
			}
		})
	}
}

func TestParseServers(t *testing.T) {
	t.Parallel()
	got, err := parseServers("10.0.0.53, [fd00::53]:5353,fd00::54")
	if want := []string{"10.0.0.53:53", "[fd00::53]:5353", "[fd00::54]:53"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseServers = %v (%v), want %v", got, err, want)
	}
	for _, bad := range []string{"dns.test", "10.0.0.53:0", "10.0.0.53:x", "10.0.0.300"} {
		if _, err := parseServers(bad); err == nil {
			t.Errorf("parseServers(%q) is accepted", bad)
		}
	}
}
