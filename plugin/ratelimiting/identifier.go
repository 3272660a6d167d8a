package ratelimiting

import (
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// identifier says with whom a request is counted. The text is valid as long as the exchange.
type identifier func(x *plugin.Exchange) string

// identify returns the identifier of config.limit_by. Whatever is missing from a request is
// replaced by the client's address, as in Kong.
func identify(c *Config) (identifier, error) {
	switch c.GetLimitBy() {
	case "", "consumer":
		return orAddress(consumer), nil
	case "credential":
		return orAddress(credential), nil
	case "ip":
		return address, nil
	case "service":
		return orAddress(service), nil
	case "header":
		name := c.GetHeaderName()
		if name == "" {
			return nil, errors.New("config.header_name: required field missing")
		}
		return orAddress(func(x *plugin.Exchange) string { return x.Request.Header.Get(name) }), nil
	case "path":
		path := c.GetPath()
		if path == "" {
			return nil, errors.New("config.path: required field missing")
		}
		return orAddress(func(x *plugin.Exchange) string {
			if x.Request.Path == path {
				return path
			}
			return ""
		}), nil
	}
	return nil, fmt.Errorf("config.limit_by: unknown value %q", c.GetLimitBy())
}

func orAddress(of identifier) identifier {
	return func(x *plugin.Exchange) string {
		if id := of(x); id != "" {
			return id
		}
		return address(x)
	}
}

func address(x *plugin.Exchange) string {
	var b [64]byte
	return x.Text(x.Client.Unmap().AppendTo(b[:0]))
}

func consumer(x *plugin.Exchange) string {
	if x.Consumer != nil {
		return x.Consumer.ID
	}
	return credential(x)
}

func credential(x *plugin.Exchange) string {
	if x.Credential != nil {
		return x.Credential.ID
	}
	return ""
}

func service(x *plugin.Exchange) string {
	if x.Service != nil {
		return x.Service.ID
	}
	return ""
}
