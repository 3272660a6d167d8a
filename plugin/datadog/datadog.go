// Package datadog sends values of every exchange to an agent of Datadog, tagged.
//
// It knows which tags there are; lines are package stats's. Enter at Definition.
package datadog

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/stats"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// timeout bounds what is done for one line.
const timeout = 5 * time.Second

// New reads the address and the metrics. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	host, port := "localhost", int64(8125)
	if c.Host != nil {
		host = c.GetHost()
	}
	if c.Port != nil {
		port = c.GetPort()
	}
	addr, err := logentry.Address(host, port)
	if err != nil {
		return nil, err
	}
	s, err := outbox.Read(c.GetQueue(), 1)
	if err != nil {
		return nil, err
	}
	if n := c.GetQueueSize(); n > 1 {
		s.Batch = int(n)
	}
	s.Batch *= max(len(c.GetMetrics()), 1) // a line each
	return &filter{
		prefix: or(c.Prefix, "kong"), metrics: c.GetMetrics(),
		service: or(c.ServiceNameTag, "name"), status: or(c.StatusTag, "status"), consumer: or(c.ConsumerTag, "consumer"),
		queue:  outbox.New(s, h.Logger().With("plugin", "datadog")),
		socket: outbox.Socket{Network: "udp", Addr: addr, Timeout: timeout},
	}, nil
}

func or(s *string, other string) string {
	if s == nil {
		return other
	}
	return *s
}

type filter struct {
	prefix                    string
	metrics                   []*Config_Metric
	service, status, consumer string // names of tags
	queue                     *outbox.Queue
	socket                    outbox.Socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues a line for each metric.
func (f *filter) OnLog(x *plugin.Exchange) {
	for _, m := range f.metrics {
		name, value, ok := stats.Value(x, m.GetName())
		if !ok {
			continue
		}
		f.queue.Add(stats.Line{
			Prefix: f.prefix, Name: name, Value: strconv.FormatInt(value, 10), Kind: stats.Kinds[m.GetStatType()],
			Rate: m.GetSampleRate(), Tags: f.tags(x, m), Style: "dogstatsd",
		}.Append)
	}
}

func (f *filter) tags(x *plugin.Exchange, m *Config_Metric) string {
	service := ""
	if x.Service != nil {
		service = stats.Dotless(x.Service.Label())
	}
	tags := []string{f.service + ":" + service, f.status + ":" + strconv.Itoa(x.Response.Status)}
	if c := stats.Consumer(x, m.GetConsumerIdentifier()); c != "" {
		if m.GetConsumerIdentifier() == "consumer_id" {
			c = strings.ReplaceAll(c, "-", "_")
		}
		tags = append(tags, f.consumer+":"+c)
	}
	return strings.Join(append(tags, m.GetTags()...), ",")
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.Close()
	f.queue.Run(ctx, f.socket.Send)
	return nil
}
