// Package stats makes StatsD lines of exchanges: what statsd and datadog have in common.
//
// It knows values, kinds and the form of a line; which lines a configuration wants, and their
// tags, is a plugin's. It is no plugin. Enter at Value and Line.
package stats

import (
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Kinds are StatsD's letters for what a value is.
var Kinds = map[string]string{
	"gauge": "g", "counter": "c", "timer": "ms", "histogram": "h", "meter": "m", "set": "s", "distribution": "d",
}

// names are what lines call the values.
var names = map[string]string{
	"request_size": "request.size", "response_size": "response.size", "latency": "latency",
	"upstream_latency": "upstream_latency", "kong_latency": "kong_latency", "request_count": "request.count",
}

// Value returns what a line calls a metric of an exchange, and its value. ok is false for other
// metrics.
func Value(x *plugin.Exchange, metric string) (name string, value int64, ok bool) {
	l := x.Latencies()
	switch metric {
	case "request_size":
		value = x.Request.Size
	case "response_size":
		value = x.Response.Size
	case "latency":
		value = l.Request.Milliseconds()
	case "upstream_latency":
		if value = -1; l.Proxy >= 0 {
			value = l.Proxy.Milliseconds()
		}
	case "kong_latency":
		value = l.Gate.Milliseconds()
	case "request_count":
		value = 1
	default:
		return "", 0, false
	}
	return names[metric], value, true
}

// Line is one value on its way to a server.
type Line struct {
	Prefix, Name string
	Value        string
	Kind         string  // a value of Kinds
	Rate         float64 // 0 and 1: of all
	Tags         string  // in the form of Style
	Style        string  // where tags stand: "", "dogstatsd", "influxdb", "librato", "signalfx"
}

// Append appends the line.
func (l Line) Append(b []byte) []byte {
	b = append(append(append(b, l.Prefix...), '.'), l.Name...)
	if l.Tags != "" {
		switch l.Style {
		case "influxdb":
			b = append(append(b, ','), l.Tags...)
		case "librato":
			b = append(append(b, '#'), l.Tags...)
		case "signalfx":
			b = append(append(append(b, '['), l.Tags...), ']')
		}
	}
	b = append(append(append(append(b, ':'), l.Value...), '|'), l.Kind...)
	if l.Rate != 0 && l.Rate != 1 {
		b = strconv.AppendFloat(append(b, "|@"...), l.Rate, 'g', -1, 64)
	}
	if l.Tags != "" && l.Style == "dogstatsd" {
		b = append(append(b, "|#"...), l.Tags...)
	}
	return b
}

// Dotless makes a text one part of a name.
func Dotless(s string) string { return strings.ReplaceAll(s, ".", "_") }

// Consumer returns what identifies the exchange's consumer; "" when there is none.
func Consumer(x *plugin.Exchange, by string) string {
	c := x.Consumer
	switch {
	case c == nil:
		return ""
	case by == "consumer_id":
		return c.ID
	case by == "custom_id":
		return c.CustomID
	case by == "username":
		return c.Username
	}
	return ""
}
