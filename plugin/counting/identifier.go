package counting

import (
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// Identifier says with whom a request is counted. The text is valid as long as the exchange.
type Identifier func(x *plugin.Exchange) string

// OrAddress counts by the client's address where of says nothing, as Kong does with whatever is
// missing from a request.
func OrAddress(of Identifier) Identifier {
	return func(x *plugin.Exchange) string {
		if id := of(x); id != "" {
			return id
		}
		return Address(x)
	}
}

// Address counts by the client's address.
func Address(x *plugin.Exchange) string {
	var b [64]byte
	return x.Text(x.Client.Unmap().AppendTo(b[:0]))
}

// Consumer counts by the consumer, else by the credential; "" when nobody is known.
func Consumer(x *plugin.Exchange) string {
	if x.Consumer != nil {
		return x.Consumer.ID
	}
	return Credential(x)
}

// Credential counts by the credential; "" when there is none.
func Credential(x *plugin.Exchange) string {
	if x.Credential != nil {
		return x.Credential.ID
	}
	return ""
}

// By returns the identifier of config.limit_by. header and path are those of config. Whatever is
// missing from a request is replaced by the client's address, as in Kong.
func By(what, header, path string) (Identifier, error) {
	switch what {
	case "", "consumer":
		return OrAddress(Consumer), nil
	case "credential":
		return OrAddress(Credential), nil
	case "ip":
		return Address, nil
	case "service":
		return OrAddress(service), nil
	case "route":
		return OrAddress(route), nil
	case "header":
		if header == "" {
			return nil, errors.New("config.header_name: required field missing")
		}
		return OrAddress(func(x *plugin.Exchange) string { return x.Request.Header.Get(header) }), nil
	case "path":
		if path == "" {
			return nil, errors.New("config.path: required field missing")
		}
		return OrAddress(func(x *plugin.Exchange) string {
			if x.Request.Path == path {
				return path
			}
			return ""
		}), nil
	}
	return nil, fmt.Errorf("config.limit_by: unknown value %q", what)
}

func route(x *plugin.Exchange) string {
	if x.Route != nil {
		return x.Route.ID
	}
	return ""
}

func service(x *plugin.Exchange) string {
	if x.Service != nil {
		return x.Service.ID
	}
	return ""
}
