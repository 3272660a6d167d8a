// Package counting is what plugins that limit by counts have in common: who is counted
// together, in which windows, and where the counts are kept.
//
// It knows Kong's words for these things; it does not count: that is the gate's limiter.
package counting

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Nobody stands in keys for the route or service that a configuration is not of, as in Kong.
const Nobody = "00000000-0000-0000-0000-000000000000"

// RuleID names the counts of a configuration: two of one route and service count together, as
// Kong's keys do.
func RuleID(what string, s plugin.Scope) string {
	return what + ":" + cmp.Or(s.RouteID, Nobody) + ":" + cmp.Or(s.ServiceID, Nobody)
}

// Redis is config.redis with its defaults filled in, as every such plugin has it.
type Redis interface {
	GetHost() string
	GetPort() int64
	GetTimeout() int64
	GetUsername() string
	GetPassword() string
	GetDatabase() int64
	GetSsl() bool
	GetSslVerify() bool
	GetServerName() string
}

// Place says where counts are kept. The policy cluster, Kong's counters in PostgreSQL, means
// the gate's own shared store here: it is what a gate without a database has.
func Place(policy string, r Redis) (*plugin.Redis, error) {
	switch policy {
	case "", "local":
		return nil, nil
	case "cluster":
		return &plugin.Redis{}, nil
	case "redis":
		return redis(r)
	}
	return nil, fmt.Errorf("config.policy: unknown policy %q", policy)
}

// SharedPlace is Place for plugins of ours, which count for all gates when nothing is said.
func SharedPlace(policy string, r Redis) (*plugin.Redis, error) {
	return Place(cmp.Or(policy, "cluster"), r)
}

// Outage reads config.outage; without it fault_tolerant says what is done, as in Kong.
func Outage(mode string, faultTolerant *bool) (plugin.Outage, error) {
	if mode == "" {
		if faultTolerant != nil && !*faultTolerant {
			return plugin.Closed, nil
		}
		return plugin.EqualShare, nil
	}
	for o := plugin.EqualShare; o <= plugin.Closed; o++ {
		if o.String() == mode {
			return o, nil
		}
	}
	return 0, fmt.Errorf("config.outage: unknown mode %q", mode)
}

// redis reads config.redis. Without a host it is the gate's own shared store.
func redis(c Redis) (*plugin.Redis, error) {
	if c.GetHost() == "" {
		return &plugin.Redis{}, nil
	}
	if c.GetPort() < 1 || c.GetPort() > 65535 {
		return nil, fmt.Errorf("config.redis.port: %d is no port to connect to", c.GetPort())
	}
	return &plugin.Redis{
		Addr:       net.JoinHostPort(c.GetHost(), strconv.FormatInt(c.GetPort(), 10)),
		Username:   c.GetUsername(),
		Password:   c.GetPassword(),
		DB:         int(c.GetDatabase()),
		TLS:        c.GetSsl(),
		TLSVerify:  c.GetSslVerify(),
		ServerName: c.GetServerName(),
		Timeout:    time.Duration(c.GetTimeout()) * time.Millisecond,
	}, nil
}

// Number is a count as headers tell it, which may have a fraction where a limit has one. The
// text is valid as long as the exchange.
func Number(x *plugin.Exchange, n float64) string {
	if whole := int64(n); float64(whole) == n {
		return x.Decimal(whole)
	}
	var b [32]byte
	return x.Text(strconv.AppendFloat(b[:0], n, 'f', -1, 64))
}
