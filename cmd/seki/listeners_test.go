package main

import (
	"encoding/json"
	"testing"
)

func TestListeners(t *testing.T) {
	t.Parallel()
	n := &node{
		settings: &officeSettings{adminListen: "127.0.0.1:8001"}, status: "off",
		proxies: &gateSettings{proxyListen: "0.0.0.0:8080 proxy_protocol", proxyTLSListen: "[::]:8443", streamListen: "0.0.0.0:9000, 0.0.0.0:9443 ssl"},
	}
	conf := map[string]any{}
	n.addListeners(conf)
	for name, want := range map[string][]struct {
		Listener, IP  string
		Port          int
		SSL, HTTP2    bool
		ProxyProtocol bool `json:"proxy_protocol"`
	}{
		"proxy_listeners": {
			{Listener: "0.0.0.0:8080 proxy_protocol", IP: "0.0.0.0", Port: 8080, ProxyProtocol: true},
			{Listener: "[::]:8443 ssl", IP: "::", Port: 8443, SSL: true, HTTP2: true},
		},
		"stream_listeners": {
			{Listener: "0.0.0.0:9000", IP: "0.0.0.0", Port: 9000},
			{Listener: "0.0.0.0:9443 ssl", IP: "0.0.0.0", Port: 9443, SSL: true},
		},
		"admin_listeners":  {{Listener: "127.0.0.1:8001", IP: "127.0.0.1", Port: 8001}},
		"status_listeners": {},
	} {
		got := want[:0:0]
		raw, err := json.Marshal(conf[name])
		if err == nil {
			err = json.Unmarshal(raw, &got)
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s = %s (%v), want %+v", name, raw, err, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s[%d] = %+v, want %+v", name, i, got[i], want[i])
			}
		}
	}
	n.proxies = nil
	n.addListeners(conf)
	if raw, _ := json.Marshal(conf["proxy_listeners"]); string(raw) != "[]" {
		t.Errorf("proxy_listeners of a control plane = %s, want []", raw)
	}
}
