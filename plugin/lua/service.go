package lua

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua"

	"github.com/sekifuda/sekifuda/plugin"
)

// service is kong.service: what the upstream is asked, and what it answered.
func (s *state) service() *lua.LTable {
	t := s.table(map[string]lua.LGFunction{
		"set_target": func(l *lua.LState) int {
			s.only(Rewrite, Access)
			s.x.Upstream.Authority = net.JoinHostPort(l.CheckString(1), strconv.Itoa(argument(l, 2, 1, 65535)))
			return 0
		},
	})
	t.RawSetString("request", s.upstream())
	t.RawSetString("response", s.table(map[string]lua.LGFunction{
		"get_status": func(l *lua.LState) int {
			if s.x.Response.Source != plugin.FromUpstream {
				l.Push(lua.LNil)
				return 1
			}
			l.Push(lua.LNumber(s.x.Response.Status))
			return 1
		},
		"get_header":  func(l *lua.LState) int { return header(l, &s.x.Response.Header, l.CheckString(1)) },
		"get_headers": func(l *lua.LState) int { l.Push(s.headers(&s.x.Response.Header)); return 1 },
	}))
	return t
}

// only refuses a call outside of some phases.
func (s *state) only(phases ...Phase) {
	for _, p := range phases {
		if s.phase == p {
			return
		}
	}
	s.l.RaiseError("function cannot be called in %s phase", string(s.phase))
}

func (s *state) upstream() *lua.LTable {
	change := func(f func(l *lua.LState)) lua.LGFunction {
		return func(l *lua.LState) int {
			s.only(Rewrite, Access)
			f(l)
			return 0
		}
	}
	return s.table(map[string]lua.LGFunction{
		"set_scheme": change(func(l *lua.LState) {
			scheme := l.CheckString(1)
			if scheme != "http" && scheme != "https" && scheme != "grpc" && scheme != "grpcs" {
				l.ArgError(1, "invalid scheme: "+scheme)
			}
			s.x.Upstream.Scheme = scheme
		}),
		"set_path": change(func(l *lua.LState) {
			path := l.CheckString(1)
			if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#\r\n\x00") {
				l.ArgError(1, "path must start with / and be escaped")
			}
			s.x.Upstream.Path = path
		}),
		"set_raw_query": change(func(l *lua.LState) { s.x.Upstream.Query = query(l, l.CheckString(1)) }),
		"set_query":     change(func(l *lua.LState) { s.x.Upstream.Query = arguments(l.CheckTable(1)) }),
		"set_method": change(func(l *lua.LState) {
			method := strings.ToUpper(l.CheckString(1))
			if !token(method) {
				l.ArgError(1, "invalid method: "+method)
			}
			s.x.Upstream.Method = method
		}),
		"set_header":   change(func(l *lua.LState) { s.setRequest(l, l.CheckString(1), l.CheckAny(2)) }),
		"add_header":   change(func(l *lua.LState) { s.addRequest(l, l.CheckString(1), l.CheckAny(2)) }),
		"clear_header": change(func(l *lua.LState) { s.x.Request.Header.Del(l.CheckString(1)) }),
		"set_headers": change(func(l *lua.LState) {
			t := l.CheckTable(1)
			for _, name := range names(t) {
				s.setRequest(l, name, t.RawGetString(name))
			}
		}),
		"set_raw_body": change(func(l *lua.LState) { s.x.SetBody([]byte(l.CheckString(1))) }),
		"set_body":     change(s.setBody),
	})
}

func query(l *lua.LState, q string) string {
	if strings.ContainsAny(q, " #\r\n\x00") {
		l.ArgError(1, "query must be escaped")
	}
	return q
}

// arguments encodes a table as a query, in the order of names.
func arguments(t *lua.LTable) string {
	var b strings.Builder
	for _, name := range names(t) {
		value := t.RawGetString(name)
		for _, text := range texts(value) {
			if value == lua.LFalse {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(escape(name))
			if value != lua.LTrue {
				b.WriteString("=" + escape(text))
			}
		}
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func (s *state) setBody(l *lua.LState) {
	t := l.CheckTable(1)
	kind := l.OptString(2, s.x.Request.Header.Get("Content-Type"))
	switch base, _, _ := strings.Cut(kind, ";"); strings.TrimSpace(strings.ToLower(base)) {
	case "application/json":
		raw, err := encode(pull(t, 0))
		if err != nil {
			l.RaiseError("encode body: %s", err.Error())
		}
		s.x.SetBody(raw)
	case "application/x-www-form-urlencoded", "":
		kind = "application/x-www-form-urlencoded"
		s.x.SetBody([]byte(arguments(t)))
	default:
		l.ArgError(2, "unsupported content type '"+kind+"'")
	}
	s.x.Request.Header.Set("Content-Type", kind)
}

func (s *state) setRequest(l *lua.LState, name string, v lua.LValue) {
	values := line(l, name, v)
	if strings.EqualFold(name, "host") {
		if len(values) > 0 {
			s.x.Upstream.Host = values[0]
		}
		return
	}
	s.x.Request.Header.Del(name)
	for _, value := range values {
		s.x.Request.Header.Append(name, value)
	}
}

func (s *state) addRequest(l *lua.LState, name string, v lua.LValue) {
	for _, value := range line(l, name, v) {
		s.x.Request.Header.Append(name, value)
	}
}

// line checks the name and the values of a header line: what would be two lines is refused.
func line(l *lua.LState, name string, v lua.LValue) []string {
	if !token(name) {
		l.RaiseError("invalid header name %q", name)
	}
	values := texts(v)
	for _, value := range values {
		if strings.ContainsAny(value, "\r\n\x00") {
			l.RaiseError("invalid value of header %q", name)
		}
	}
	return values
}

// token reports whether a text is one (RFC 9110 section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
