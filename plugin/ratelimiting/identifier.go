package ratelimiting

import (
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// identify returns the identifier of config.limit_by. Whatever is missing from a request is
// replaced by the client's address, as in Kong.
func identify(c *Config) (counting.Identifier, error) {
	switch c.GetLimitBy() {
	case "", "consumer":
		return counting.OrAddress(counting.Consumer), nil
	case "credential":
		return counting.OrAddress(counting.Credential), nil
	case "ip":
		return counting.Address, nil
	case "service":
		return counting.OrAddress(service), nil
	case "header":
		name := c.GetHeaderName()
		if name == "" {
			return nil, errors.New("config.header_name: required field missing")
		}
		return counting.OrAddress(func(x *plugin.Exchange) string { return x.Request.Header.Get(name) }), nil
	case "path":
		path := c.GetPath()
		if path == "" {
			return nil, errors.New("config.path: required field missing")
		}
		return counting.OrAddress(func(x *plugin.Exchange) string {
			if x.Request.Path == path {
				return path
			}
			return ""
		}), nil
	}
	return nil, fmt.Errorf("config.limit_by: unknown value %q", c.GetLimitBy())
}

func service(x *plugin.Exchange) string {
	if x.Service != nil {
		return x.Service.ID
	}
	return ""
}
