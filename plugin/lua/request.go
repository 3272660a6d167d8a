package lua

import (
	"encoding/json"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// version is Kong's whose words these are.
const version = "3.9.1"

// kong is the table of that name.
func (s *state) kong() *lua.LTable {
	k := s.l.NewTable()
	k.RawSetString("version", lua.LString(version))
	k.RawSetString("version_num", lua.LNumber(3009001))
	k.RawSetString("request", s.request())
	k.RawSetString("client", s.client())
	k.RawSetString("router", s.router())
	k.RawSetString("node", s.node())
	k.RawSetString("service", s.service())
	k.RawSetString("response", s.response())
	k.RawSetString("log", s.logs())
	k.RawSetString("ctx", s.contexts())
	k.RawSetString("table", s.tables())
	return k
}

func (s *state) request() *lua.LTable {
	texts := func(of func(*plugin.Exchange) string) lua.LGFunction {
		return func(l *lua.LState) int { return text(l, of(s.x), true) }
	}
	return s.table(map[string]lua.LGFunction{
		"get_scheme":           texts(func(x *plugin.Exchange) string { return x.Request.Scheme }),
		"get_host":             texts(func(x *plugin.Exchange) string { return hostOf(x.Request.Host) }),
		"get_id":               texts(func(x *plugin.Exchange) string { return x.ID }),
		"get_method":           texts(func(x *plugin.Exchange) string { return x.Request.Method }),
		"get_path":             texts(func(x *plugin.Exchange) string { return x.Request.Path }),
		"get_raw_path":         texts(func(x *plugin.Exchange) string { return x.Request.Path }),
		"get_path_with_query":  texts(withQuery),
		"get_raw_query":        texts(func(x *plugin.Exchange) string { return x.Request.Query }),
		"get_forwarded_scheme": texts(func(x *plugin.Exchange) string { return x.Request.ForwardedProto }),
		"get_forwarded_host":   texts(func(x *plugin.Exchange) string { return hostOf(x.Request.ForwardedHost) }),
		"get_forwarded_path":   texts(func(x *plugin.Exchange) string { return x.Request.Path }),
		"get_port":             s.number(func(x *plugin.Exchange) float64 { return float64(x.Local.Port()) }),
		"get_forwarded_port":   s.number(func(x *plugin.Exchange) float64 { return float64(x.Request.ForwardedPort) }),
		"get_http_version": s.number(func(x *plugin.Exchange) float64 {
			return float64(x.Request.Major) + float64(x.Request.Minor)/10
		}),
		"get_start_time":   s.number(func(x *plugin.Exchange) float64 { return float64(x.Times.Start.UnixMilli()) }),
		"get_header":       func(l *lua.LState) int { return header(l, &s.x.Request.Header, l.CheckString(1)) },
		"get_headers":      func(l *lua.LState) int { l.Push(s.headers(&s.x.Request.Header)); return 1 },
		"get_query":        func(l *lua.LState) int { l.Push(s.push(payload.Arguments(s.x.Request.Query))); return 1 },
		"get_query_arg":    s.queryArg,
		"get_raw_body":     func(l *lua.LState) int { return text(l, string(s.body()), true) },
		"get_body":         s.parsedBody,
		"get_uri_captures": s.captures,
	})
}

func (s *state) number(of func(*plugin.Exchange) float64) lua.LGFunction {
	return func(l *lua.LState) int {
		l.Push(lua.LNumber(of(s.x)))
		return 1
	}
}

func withQuery(x *plugin.Exchange) string {
	if x.Request.Query == "" {
		return x.Request.Path
	}
	return x.Request.Path + "?" + x.Request.Query
}

func hostOf(authority string) string {
	if h, _, err := net.SplitHostPort(authority); err == nil {
		return h
	}
	return authority
}

// header pushes the first value of a header line; "_" finds "-", too, as in Kong.
func header(l *lua.LState, h *plugin.Header, name string) int {
	v, ok := h.Lookup(name)
	if !ok {
		v, ok = h.Lookup(strings.ReplaceAll(name, "_", "-"))
	}
	return text(l, v, ok)
}

// headers makes a table of header lines by names in lower case, which finds other spellings.
func (s *state) headers(h *plugin.Header) *lua.LTable {
	t, _ := s.push(payload.Headers(h)).(*lua.LTable)
	meta := s.l.NewTable()
	meta.RawSetString("__index", s.l.NewFunction(func(l *lua.LState) int {
		name := strings.ToLower(strings.ReplaceAll(lua.LVAsString(keyText(l.Get(2))), "_", "-"))
		l.Push(t.RawGetString(name))
		return 1
	}))
	t.Metatable = meta
	return t
}

func (s *state) queryArg(l *lua.LState) int {
	first, _ := payload.First(payload.Arguments(s.x.Request.Query)[l.CheckString(1)])
	l.Push(s.push(first))
	return 1
}

// body is the request's; none when it cannot be read.
func (s *state) body() []byte {
	if s.phase == Log {
		s.l.RaiseError("the body of the request is gone in the log phase")
	}
	b, err := s.x.ReadBody(0)
	if err != nil {
		return nil
	}
	return b
}

func (s *state) parsedBody(l *lua.LState) int {
	kind := s.x.Request.Header.Get("Content-Type")
	if payload.KindOf(kind) == payload.Other {
		l.Push(lua.LNil)
		l.Push(lua.LString("unsupported content type '" + kind + "'"))
		return 2
	}
	l.Push(s.push(payload.Members(kind, s.body())))
	return 1
}

func (s *state) captures(l *lua.LState) int {
	named, unnamed := map[string]any{}, []any{}
	c := &s.x.Captures
	for i := range c.Values {
		v, _ := c.Group(i + 1)
		unnamed = append(unnamed, strings.Clone(v))
		if i < len(c.Names) && c.Names[i] != "" {
			named[c.Names[i]] = strings.Clone(v)
		}
	}
	l.Push(s.push(map[string]any{"named": named, "unnamed": unnamed}))
	return 1
}

func (s *state) client() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"get_ip":             func(l *lua.LState) int { return text(l, s.x.Peer.Addr().Unmap().String(), true) },
		"get_forwarded_ip":   func(l *lua.LState) int { return text(l, s.x.Client.Unmap().String(), true) },
		"get_port":           s.number(func(x *plugin.Exchange) float64 { return float64(x.Peer.Port()) }),
		"get_forwarded_port": s.number(func(x *plugin.Exchange) float64 { return float64(x.Peer.Port()) }),
		"get_protocol":       func(l *lua.LState) int { return text(l, s.x.Request.Scheme, true) },
		"get_consumer": func(l *lua.LState) int {
			if s.x.Consumer == nil {
				l.Push(lua.LNil)
				return 1
			}
			return s.entity(l, s.x.Consumer.JSON, map[string]any{
				"id": s.x.Consumer.ID, "username": s.x.Consumer.Username, "custom_id": s.x.Consumer.CustomID,
			})
		},
		"get_credential": func(l *lua.LState) int {
			c := s.x.Credential
			if c == nil {
				l.Push(lua.LNil)
				return 1
			}
			o := map[string]any{"id": c.ID}
			if c.Consumer != nil {
				o["consumer_id"] = c.Consumer.ID
			}
			l.Push(s.push(o))
			return 1
		},
	})
}

// entity pushes what an entity's JSON has, else the members given.
func (s *state) entity(l *lua.LState, raw []byte, otherwise map[string]any) int {
	var o map[string]any
	if json.Unmarshal(raw, &o) != nil || o == nil {
		o = otherwise
	}
	l.Push(s.push(o))
	return 1
}

func (s *state) router() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"get_route": func(l *lua.LState) int {
			if s.x.Route == nil {
				l.Push(lua.LNil)
				return 1
			}
			return s.entity(l, s.x.Route.JSON, map[string]any{"id": s.x.Route.ID, "name": s.x.Route.Name})
		},
		"get_service": func(l *lua.LState) int {
			if s.x.Service == nil {
				l.Push(lua.LNil)
				return 1
			}
			return s.entity(l, s.x.Service.JSON, map[string]any{"id": s.x.Service.ID, "name": s.x.Service.Name, "host": s.x.Service.Host})
		},
	})
}

func (s *state) node() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"get_id": func(l *lua.LState) int { return text(l, s.p.host.NodeID(), true) },
		"get_hostname": func(l *lua.LState) int {
			name, err := os.Hostname()
			return text(l, name, err == nil)
		},
	})
}

// argument is a number of a status, or of a port.
func argument(l *lua.LState, n int, low, high int) int {
	v := l.CheckInt(n)
	if v < low || v > high {
		l.ArgError(n, "must be a number between "+strconv.Itoa(low)+" and "+strconv.Itoa(high))
	}
	return v
}
