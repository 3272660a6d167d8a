package responseratelimiting

import (
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// identifier says for whom is counted. The text is valid as long as the exchange.
type identifier func(x *plugin.Exchange) string

// identify returns the identifier of config.limit_by. Whoever is not known is the client's
// address, as in Kong.
func identify(c *Config) (identifier, error) {
	switch c.GetLimitBy() {
	case "", "consumer":
		return consumer, nil
	case "credential":
		return credential, nil
	case "ip":
		return address, nil
	}
	return nil, fmt.Errorf("config.limit_by: unknown value %q", c.GetLimitBy())
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
	return address(x)
}

func address(x *plugin.Exchange) string {
	var b [64]byte
	return x.Text(x.Client.Unmap().AppendTo(b[:0]))
}
