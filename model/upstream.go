package model

import (
	"strconv"

	"github.com/sekifuda/sekifuda/model/schema"
)

func upstreamMeaning() schema.Meaning {
	return schema.Meaning{
		Values: map[string]schema.ValueCheck{"upstream_name": checkUpstreamName},
		Expand: map[string]schema.Expansion{"algorithm": expandAlgorithm, "hash_on": expandHashOn},
	}
}

// checkUpstreamName wants a name that a service's host can be: no address and no port, which
// would never be looked up.
func checkUpstreamName(v any) string {
	name, ok := v.(string)
	if !ok {
		return ""
	}
	a, ok, badPort := schema.ParseAddress(name)
	prefix := "Invalid name ('" + name + "'); "
	switch {
	case !ok && !badPort:
		return prefix + "must be a valid hostname"
	case a.IP:
		return prefix + "no ip addresses allowed"
	case badPort || a.Port != 0:
		return prefix + "no port allowed"
	}
	return ""
}

// expandAlgorithm drops the hash input that an algorithm does not use.
func expandAlgorithm(value any, _ schema.Body) schema.Body {
	out := schema.Body{"algorithm": value}
	if value == "least-connections" || value == "latency" {
		out["hash_on"] = nil
	}
	return out
}

// expandHashOn chooses the algorithm that a hash input needs. It runs after expandAlgorithm
// and wins over it, as in Kong 3.9.1.
func expandHashOn(value any, _ schema.Body) schema.Body {
	switch value {
	case nil:
		return schema.Body{"hash_on": "none"}
	case "none":
		return schema.Body{"hash_on": value, "algorithm": "round-robin"}
	}
	return schema.Body{"hash_on": value, "algorithm": "consistent-hashing"}
}

// defaultTargetPort is Kong's port for a target that names none.
const defaultTargetPort = 8000

func targetMeaning() schema.Meaning {
	return schema.Meaning{
		Values: map[string]schema.ValueCheck{"target": checkTarget},
		Finish: func(c schema.Change) error {
			if s, ok := c.Next["target"].(string); ok {
				c.Next["target"] = NormalTarget(s)
			}
			return nil
		},
	}
}

func checkTarget(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	if _, ok, _ := schema.ParseAddress(s); !ok {
		return "Invalid target ('" + s + "'); not a valid hostname or ip address"
	}
	return ""
}

// NormalTarget is the one spelling of a target under which it is stored and found: with a
// port, IPv6 between brackets. What cannot be a target is returned as it is.
func NormalTarget(s string) string {
	a, ok, _ := schema.ParseAddress(s)
	if !ok {
		return s
	}
	if a.Port == 0 {
		a.Port = defaultTargetPort
	}
	return a.Bracketed() + ":" + strconv.Itoa(a.Port)
}
