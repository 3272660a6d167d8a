package prometheus

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestCountsWhatTheConfigurationAsks(t *testing.T) {
	t.Parallel()
	on := proto.Bool(true)
	tests := []struct {
		name   string
		config *Config
		want   plugin.MetricSet
	}{
		{"nothing by default", &Config{}, 0},
		{"status", &Config{StatusCodeMetrics: on}, plugin.StatusMetrics},
		{"latency", &Config{LatencyMetrics: on}, plugin.LatencyMetrics},
		{"bandwidth", &Config{BandwidthMetrics: on}, plugin.BandwidthMetrics},
		{"upstream health", &Config{UpstreamHealthMetrics: on}, plugin.UpstreamHealthMetrics},
		{"ai", &Config{AiMetrics: on}, plugin.AIMetrics},
		{"status by consumer", &Config{StatusCodeMetrics: on, PerConsumer: on}, plugin.StatusMetrics | plugin.PerConsumer},
		{"explicitly off", &Config{StatusCodeMetrics: proto.Bool(false)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.NewHost()
			f, err := New(tt.config, h)
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			f.(plugin.LogFilter).OnLog(plugintest.Request{}.Exchange())
			if got := h.Seen.Sets(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("observed %v, want [%v]", got, tt.want)
			}
			if got := h.Seen.Enabled(); got != tt.want {
				t.Errorf("enabled %v, want %v", got, tt.want)
			}
		})
	}
}
