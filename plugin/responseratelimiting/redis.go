package responseratelimiting

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Kong's defaults, for a config that did not go through the schema.
const (
	defaultPort    = 6379
	defaultTimeout = 2000 // milliseconds
)

// redis reads config.redis. Without a host it is the gate's own shared store.
func redis(c *Config_Redis) (*plugin.Redis, error) {
	if c.GetHost() == "" {
		return &plugin.Redis{}, nil
	}
	port, timeout := int64(defaultPort), int64(defaultTimeout)
	if c.Port != nil {
		port = c.GetPort()
	}
	if c.Timeout != nil {
		timeout = c.GetTimeout()
	}
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("config.redis.port: %d is no port to connect to", port)
	}
	return &plugin.Redis{
		Addr:       net.JoinHostPort(c.GetHost(), strconv.FormatInt(port, 10)),
		Username:   c.GetUsername(),
		Password:   c.GetPassword(),
		DB:         int(c.GetDatabase()),
		TLS:        c.GetSsl(),
		TLSVerify:  c.GetSslVerify(),
		ServerName: c.GetServerName(),
		Timeout:    time.Duration(timeout) * time.Millisecond,
	}, nil
}
