package responseratelimiting

import (
	"fmt"

	"github.com/sekifuda/sekifuda/plugin/counting"
)

// identify returns the identifier of config.limit_by. Whoever is not known is the client's
// address, as in Kong.
func identify(c *Config) (counting.Identifier, error) {
	switch c.GetLimitBy() {
	case "", "consumer":
		return counting.OrAddress(counting.Consumer), nil
	case "credential":
		return counting.OrAddress(counting.Credential), nil
	case "ip":
		return counting.Address, nil
	}
	return nil, fmt.Errorf("config.limit_by: unknown value %q", c.GetLimitBy())
}
