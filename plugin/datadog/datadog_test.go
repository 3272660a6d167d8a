package datadog

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func metric(name, kind, consumer string, rate float64, tags ...string) *Config_Metric {
	m := &Config_Metric{Name: &name, StatType: &kind, Tags: tags, ConsumerIdentifier: &consumer}
	if rate != 0 {
		m.SampleRate = &rate
	}
	return m
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config *Config
		change func(*plugin.Exchange)
		want   string
	}{
		{"a counter", &Config{Metrics: []*Config_Metric{metric("request_count", "counter", "custom_id", 1, "app:kong")}}, nil, "kong.request.count:1|c|#name:svc_one,status:200,consumer:robert,app:kong"},
		{"a share", &Config{Metrics: []*Config_Metric{metric("request_count", "counter", "username", 0.5)}}, nil, "kong.request.count:1|c|@0.5|#name:svc_one,status:200,consumer:bob"},
		{"a distribution", &Config{Metrics: []*Config_Metric{metric("latency", "distribution", "", 0)}}, nil, "kong.latency:28|d|#name:svc_one,status:200"},
		{"an id as a tag", &Config{Metrics: []*Config_Metric{metric("kong_latency", "timer", "consumer_id", 0)}}, nil, "kong.kong_latency:3|ms|#name:svc_one,status:200,consumer:c_1"},
		{
			"own names", &Config{Prefix: proto.String("own"), ServiceNameTag: proto.String("svc"), StatusTag: proto.String("st"), ConsumerTag: proto.String("who"), Metrics: []*Config_Metric{metric("upstream_latency", "timer", "username", 0)}},
			nil, "own.upstream_latency:20|ms|#svc:svc_one,st:200,who:bob",
		},
		{
			"nobody and nothing", &Config{Metrics: []*Config_Metric{metric("upstream_latency", "timer", "username", 0)}},
			func(x *plugin.Exchange) { x.Service, x.Consumer, x.Times.Proxied = nil, nil, time.Time{} }, "kong.upstream_latency:-1|ms|#name:,status:200",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := plugintest.NewDatagrams(t)
			tt.config.Host, tt.config.Port = proto.String("127.0.0.1"), &server.Port
			f, err := New(tt.config, plugintest.NewHost())
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			plugintest.Run(t, f)
			x := plugintest.Logged(time.Unix(1700000000, 0))
			if tt.change != nil {
				tt.change(x)
			}
			f.(plugin.LogFilter).OnLog(x)
			if got := server.Next(); got != tt.want {
				t.Errorf("line = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.port":              {Port: proto.Int64(0)},
		"config.host":              {Host: proto.String("")},
		"config.queue.max_entries": {Queue: &outbox.Limits{MaxEntries: proto.Int64(0)}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}
