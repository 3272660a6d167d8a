package statsd

import (
	"bufio"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/stats"
)

var begin = time.Unix(1700000000, 0)

func metric(name, kind string) *Config_Metric {
	return &Config_Metric{Name: &name, StatType: &kind}
}

// lines returns what one exchange sends.
func lines(t *testing.T, c *Config, n int, change func(*plugin.Exchange)) []string {
	t.Helper()
	server := plugintest.NewDatagrams(t)
	c.Host, c.Port = proto.String("127.0.0.1"), &server.Port
	if c.Queue == nil {
		c.Queue = &outbox.Limits{MaxCoalescingDelay: proto.Float64(0)}
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	plugintest.Run(t, f)
	x := plugintest.Logged(begin)
	if change != nil {
		change(x)
	}
	f.(plugin.LogFilter).OnLog(x)
	var all []string
	for range n {
		all = append(all, server.Next())
	}
	return all
}

func all() []*Config_Metric {
	return []*Config_Metric{
		metric("request_count", "counter"), metric("latency", "timer"), metric("request_size", "counter"),
		metric("status_count", "counter"), metric("response_size", "counter"), metric("unique_users", "set"),
		metric("request_per_user", "counter"), metric("upstream_latency", "timer"), metric("kong_latency", "timer"),
		metric("status_count_per_user", "counter"), metric("status_count_per_workspace", "counter"),
		metric("status_count_per_user_per_route", "counter"), metric("shdict_usage", "gauge"),
	}
}

func TestNamesTellAll(t *testing.T) {
	t.Parallel()
	want := []string{
		"kong.service.svc_one.request.count:1|c", "kong.service.svc_one.latency:28|ms", "kong.service.svc_one.request.size:100|c",
		"kong.service.svc_one.status.200:1|c", "kong.service.svc_one.response.size:300|c", "kong.service.svc_one.user.uniques:robert|s",
		"kong.service.svc_one.user.robert.request.count:1|c", "kong.service.svc_one.upstream_latency:20|ms", "kong.service.svc_one.kong_latency:3|ms",
		"kong.service.svc_one.user.robert.status.200:1|c",
		"kong.service.svc_one.workspace.00000000-0000-0000-0000-000000000000.status.200:1|c", "kong.route.r1.user.robert.status.200:1|c",
	}
	if got := lines(t, &Config{Metrics: all()}, len(want), nil); !slices.Equal(got, want) {
		t.Errorf("lines = %q\nwant %q", got, want)
	}
}

func TestOtherNames(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	half := metric("request_count", "counter")
	half.SampleRate = proto.Float64(0.5)
	byID := metric("request_per_user", "counter")
	byID.ConsumerIdentifier, byID.ServiceIdentifier = proto.String("consumer_id"), proto.String("service_id")
	byName := metric("status_count_per_workspace", "counter")
	byName.WorkspaceIdentifier = proto.String("workspace_name")
	for _, tt := range []struct {
		config *Config
		change func(*plugin.Exchange)
		want   string
	}{
		{&Config{Metrics: []*Config_Metric{half}, Prefix: proto.String("own")}, nil, "own.service.svc_one.request.count:1|c|@0.5"},
		{&Config{Metrics: []*Config_Metric{byID}}, nil, "kong.service.s1.user.c-1.request.count:1|c"},
		{&Config{Metrics: []*Config_Metric{byName}}, nil, "kong.service.svc_one.workspace.default.status.200:1|c"},
		{&Config{Metrics: []*Config_Metric{half}, HostnameInPrefix: proto.Bool(true)}, nil, "kong.node." + stats.Dotless(host) + ".service.svc_one.request.count:1|c|@0.5"},
		{&Config{Metrics: []*Config_Metric{metric("status_count", "counter")}}, func(x *plugin.Exchange) { x.Service = nil }, "kong.global.unmatched.status.200:1|c"},
		{&Config{Metrics: []*Config_Metric{metric("request_count", "gauge")}, ServiceIdentifierDefault: proto.String("service_name")}, func(x *plugin.Exchange) { x.Service = &plugin.Service{} }, "kong.service.unnamed.request.count:1|g"},
		{&Config{Metrics: []*Config_Metric{metric("unique_users", "set"), metric("upstream_latency", "timer"), metric("request_count", "counter")}}, func(x *plugin.Exchange) { x.Consumer, x.Times.Proxied = nil, time.Time{} }, "kong.service.svc_one.request.count:1|c"},
	} {
		if got := lines(t, tt.config, 1, tt.change)[0]; got != tt.want {
			t.Errorf("line = %q, want %q", got, tt.want)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	host, _ := os.Hostname()
	host = stats.Dotless(host)
	const workspace = "00000000-0000-0000-0000-000000000000"
	equals := "service=svc.one,route=route,workspace=" + workspace + ",consumer=robert,node=" + host + ",status=200"
	for style, want := range map[string]string{
		"dogstatsd": "kong.latency:28|ms|#" + strings.ReplaceAll(equals, "=", ":"),
		"influxdb":  "kong.latency," + equals + ":28|ms",
		"librato":   "kong.latency#" + equals + ":28|ms",
		"signalfx":  "kong.latency[" + equals + "]:28|ms",
	} {
		c := &Config{TagStyle: &style, HostnameInPrefix: proto.Bool(true), Metrics: []*Config_Metric{metric("status_count", "counter"), metric("latency", "timer")}}
		if got := lines(t, c, 1, nil)[0]; got != want {
			t.Errorf("%s: %q, want %q", style, got, want)
		}
		if got := lines(t, c, 1, func(x *plugin.Exchange) { x.Service = nil })[0]; got != "kong.latency:28|ms" {
			t.Errorf("%s without a service: %q", style, got)
		}
	}
}

func TestOnlyWantedStatusesCount(t *testing.T) {
	t.Parallel()
	c := &Config{AllowStatusCodes: []string{"200-204", "404-404"}}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]bool{199: false, 200: true, 204: true, 205: false, 404: true, 500: false} {
		if got := f.(*filter).counts(status); got != want {
			t.Errorf("counts(%d) = %v, want %v", status, got, want)
		}
	}
}

func TestLinesShareADatagram(t *testing.T) {
	t.Parallel()
	c := &Config{
		Metrics: []*Config_Metric{metric("request_count", "counter"), metric("latency", "timer"), metric("kong_latency", "timer")}, UdpPacketSize: proto.Float64(80),
		Queue: &outbox.Limits{MaxBatchSize: proto.Int64(1), MaxCoalescingDelay: proto.Float64(3600)},
	}
	got := lines(t, c, 2, nil)
	if want := []string{"kong.service.svc_one.request.count:1|c\nkong.service.svc_one.latency:28|ms", "kong.service.svc_one.kong_latency:3|ms"}; !slices.Equal(got, want) {
		t.Errorf("datagrams = %q, want %q", got, want)
	}
}

func TestOverTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := New(&Config{
		Host: proto.String("127.0.0.1"), Port: proto.Int64(int64(l.Addr().(*net.TCPAddr).Port)), UseTcp: proto.Bool(true),
		Metrics: []*Config_Metric{metric("request_count", "counter"), metric("latency", "timer")},
	}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	plugintest.Run(t, f)
	f.(plugin.LogFilter).OnLog(plugintest.Logged(begin))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, want := range []string{"kong.service.svc_one.request.count:1|c\n", "kong.service.svc_one.latency:28|ms\n"} {
		if got, err := r.ReadString('\n'); err != nil || got != want {
			t.Errorf("line = %q, %v, want %q", got, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.port":                 {Port: proto.Int64(0)},
		"config.host":                 {Host: proto.String("")},
		"config.allow_status_codes":   {AllowStatusCodes: []string{"200"}},
		"config.queue.max_batch_size": {Queue: &outbox.Limits{MaxBatchSize: proto.Int64(0)}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}
