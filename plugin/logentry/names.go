package logentry

import (
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/expression"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// names is what log fields may speak of: parts of Kong's plugin kit.
type names struct{ x *plugin.Exchange }

// Name implements expression.Env.
func (n names) Name(name string) expression.Value {
	if name != "kong" {
		return expression.Library[name]
	}
	x := n.x
	return group(map[string]expression.Value{
		"request": group(map[string]expression.Value{
			"get_header":          lookup(x.Request.Header.Lookup),
			"get_method":          constant(x.Request.Method),
			"get_scheme":          constant(x.Request.Scheme),
			"get_host":            constant(hostname(x.Request.Host)),
			"get_path":            constant(x.Request.Path),
			"get_raw_path":        constant(x.Request.Path),
			"get_path_with_query": constant(x.Request.Target),
			"get_raw_query":       constant(x.Upstream.Query),
			"get_query_arg": lookup(func(name string) (string, bool) {
				text, n := payload.ParseArgs(x.Upstream.Query).Lookup(name)
				return text, n > 0
			}),
			"get_id": constant(x.ID),
		}),
		"response": group(map[string]expression.Value{
			"get_header": lookup(x.Response.Header.Lookup),
			"get_status": result(expression.OfNumber(float64(x.Response.Status))),
		}),
		"client": group(map[string]expression.Value{
			"get_ip":           constant(x.Peer.Addr().Unmap().String()),
			"get_forwarded_ip": constant(x.Client.Unmap().String()),
			"get_consumer":     result(consumer(x.Consumer)),
		}),
		"router": group(map[string]expression.Value{
			"get_route":   result(route(x.Route)),
			"get_service": result(service(x.Service)),
		}),
	})
}

func consumer(c *plugin.Consumer) expression.Value {
	if c == nil {
		return expression.Value{}
	}
	return group(map[string]expression.Value{"id": text(c.ID), "username": text(c.Username), "custom_id": text(c.CustomID)})
}

func route(r *plugin.Route) expression.Value {
	if r == nil {
		return expression.Value{}
	}
	return group(map[string]expression.Value{"id": text(r.ID), "name": text(r.Name)})
}

func service(s *plugin.Service) expression.Value {
	if s == nil {
		return expression.Value{}
	}
	return group(map[string]expression.Value{"id": text(s.ID), "name": text(s.Name), "host": text(s.Host)})
}

// text is nil for what an entity does not have.
func text(s string) expression.Value {
	if s == "" {
		return expression.Value{}
	}
	return expression.Of(s)
}

type table map[string]expression.Value

func (t table) Index(key expression.Value) expression.Value { return t[key.String()] }

func group(fields map[string]expression.Value) expression.Value {
	return expression.OfTable(table(fields))
}

func constant(s string) expression.Value { return result(expression.Of(s)) }

func result(v expression.Value) expression.Value {
	return expression.OfFunc(func([]expression.Value) (expression.Value, error) { return v, nil })
}

func lookup(find func(name string) (string, bool)) expression.Value {
	return expression.OfFunc(func(args []expression.Value) (expression.Value, error) {
		if len(args) == 0 || args[0].Kind() != expression.String {
			return expression.Value{}, fmt.Errorf("a name is expected")
		}
		if s, ok := find(args[0].String()); ok {
			return expression.Of(s), nil
		}
		return expression.Value{}, nil
	})
}
