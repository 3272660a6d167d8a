package lua

import (
	"net/http"
	"strings"

	"github.com/yuin/gopher-lua"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// answer is where lines of the answer go: to one that will be, or to the one there is.
func (s *state) answer() *plugin.Header {
	switch s.phase {
	case Rewrite, Access:
		return &s.x.Early
	case HeaderFilter:
		return &s.x.Response.Header
	}
	s.l.RaiseError("headers of the answer cannot be changed in %s phase", string(s.phase))
	return nil
}

// told is where lines of the answer are read.
func (s *state) told() *plugin.Header {
	if s.phase == Rewrite || s.phase == Access {
		return &s.x.Early
	}
	return &s.x.Response.Header
}

func (s *state) response() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"get_status":  func(l *lua.LState) int { l.Push(lua.LNumber(s.statusNow())); return 1 },
		"set_status":  func(l *lua.LState) int { s.setStatus(argument(l, 1, 100, 599)); return 0 },
		"get_header":  func(l *lua.LState) int { return header(l, s.told(), l.CheckString(1)) },
		"get_headers": func(l *lua.LState) int { l.Push(s.headers(s.told())); return 1 },
		"set_header":  func(l *lua.LState) int { s.setAnswer(l, l.CheckString(1), l.CheckAny(2)); return 0 },
		"add_header": func(l *lua.LState) int {
			name := l.CheckString(1)
			for _, value := range line(l, name, l.CheckAny(2)) {
				s.answer().Append(name, value)
			}
			return 0
		},
		"clear_header": func(l *lua.LState) int { s.answer().Del(l.CheckString(1)); return 0 },
		"set_headers": func(l *lua.LState) int {
			t := l.CheckTable(1)
			for _, name := range names(t) {
				s.setAnswer(l, name, t.RawGetString(name))
			}
			return 0
		},
		"get_source": func(l *lua.LState) int {
			source := "exit"
			if s.x.Response.Source == plugin.FromUpstream {
				source = "service"
			}
			return text(l, source, true)
		},
		"get_raw_body": func(l *lua.LState) int {
			s.only(BodyFilter)
			return text(l, string(s.piece), true)
		},
		"set_raw_body": func(l *lua.LState) int {
			s.only(BodyFilter)
			s.piece = []byte(l.CheckString(1))
			return 0
		},
		"exit":  s.exit,
		"error": s.fail,
	})
}

func (s *state) statusNow() int {
	if s.status != 0 && (s.phase == Rewrite || s.phase == Access) {
		return s.status
	}
	return s.x.Response.Status
}

func (s *state) setStatus(n int) {
	switch s.phase {
	case Rewrite, Access:
		s.status = n
	case HeaderFilter:
		s.x.Response.Status = n
	default:
		s.l.RaiseError("the status cannot be changed in %s phase", string(s.phase))
	}
}

func (s *state) setAnswer(l *lua.LState, name string, v lua.LValue) {
	values, h := line(l, name, v), s.answer()
	h.Del(name)
	for _, value := range values {
		h.Append(name, value)
	}
}

// exit is kong.response.exit(status, body, headers).
func (s *state) exit(l *lua.LState) int {
	s.only(Rewrite, Access)
	status, kind, body := argument(l, 1, 200, 599), "", ""
	switch v := l.Get(2).(type) {
	case *lua.LTable:
		raw, err := encode(pull(v, 0))
		if err != nil {
			l.RaiseError("encode body: %s", err.Error())
		}
		kind, body = "application/json; charset=utf-8", string(raw)
	case lua.LString:
		body = string(v)
	case *lua.LNilType:
	default:
		l.ArgError(2, "body must be a text or a table")
	}
	if t, ok := l.Get(3).(*lua.LTable); ok {
		for _, name := range names(t) {
			if strings.EqualFold(name, "content-type") {
				kind = strings.Join(line(l, name, t.RawGetString(name)), ", ")
				continue
			}
			s.setAnswer(l, name, t.RawGetString(name))
		}
	}
	if early, there := s.x.Early.Lookup("Content-Type"); there && kind == "" {
		kind = early
	}
	return s.end(plugin.Exit(status, kind, body))
}

// fail is kong.response.error(status, message, headers): the answer is worded as the client
// accepts it.
func (s *state) fail(l *lua.LState) int {
	s.only(Rewrite, Access)
	status := argument(l, 1, 400, 599)
	if t, ok := l.Get(3).(*lua.LTable); ok {
		for _, name := range names(t) {
			s.setAnswer(l, name, t.RawGetString(name))
		}
	}
	return s.end(plugin.Deny(status, l.OptString(2, "")))
}

// end answers, and executes nothing more.
func (s *state) end(v plugin.Verdict) int {
	s.verdict = v.Because("function")
	s.stop()
	s.l.RaiseError("the request is answered")
	return 0
}

// printed is the answer of ngx.say and ngx.print.
func (s *state) printed() plugin.Verdict {
	status := s.status
	if status < http.StatusOK {
		status = http.StatusOK
	}
	kind := "text/plain"
	if v, there := s.x.Early.Lookup("Content-Type"); there {
		kind = v
	}
	return plugin.Exit(status, kind, s.output.String()).Because("function")
}

// contexts are kong.ctx: what functions leave to each other within an exchange. Tables are
// copied as they go in and come out.
func (s *state) contexts() *lua.LTable {
	t := s.l.NewTable()
	t.RawSetString("shared", s.context(func() any { return shared }))
	t.RawSetString("plugin", s.context(func() any { return s.p }))
	return t
}

func (s *state) context(key func() any) *lua.LTable {
	return s.magic(func(name string) lua.LValue {
		all, _ := s.x.Value(key()).(payload.Values)
		return s.push(all[name])
	}, func(name string, v lua.LValue) {
		all, _ := s.x.Value(key()).(payload.Values)
		if all == nil {
			all = payload.Values{}
			s.x.Put(key(), all)
		}
		all[name] = pull(v, 0)
	})
}

// logs is kong.log, which may be called, too.
func (s *state) logs() *lua.LTable {
	say := func(level func(msg string, args ...any)) lua.LGFunction {
		return func(l *lua.LState) int {
			level(joined(l, 1), "plugin", s.p.name)
			return 0
		}
	}
	log := s.p.log
	if log == nil { // of a state that only tells which words there are
		return s.table(map[string]lua.LGFunction{"debug": nil, "info": nil, "notice": nil, "warn": nil, "err": nil, "crit": nil, "alert": nil, "emerg": nil, "set_serialize_value": nil})
	}
	t := s.table(map[string]lua.LGFunction{
		"debug": say(log.Debug), "info": say(log.Info), "notice": say(log.Info), "warn": say(log.Warn),
		"err": say(log.Error), "crit": say(log.Error), "alert": say(log.Error), "emerg": say(log.Error),
		"set_serialize_value": s.logField,
	})
	meta := s.l.NewTable()
	meta.RawSetString("__call", s.l.NewFunction(func(l *lua.LState) int {
		log.Info(joined(l, 2), "plugin", s.p.name)
		return 0
	}))
	t.Metatable = meta
	return t
}

// logField adds a member to the exchange's log entry. One within another is refused: nobody would
// find it.
func (s *state) logField(l *lua.LState) int {
	name := l.CheckString(1)
	if strings.Contains(name, ".") {
		l.ArgError(1, "only members at the top can be set")
	}
	raw, err := encode(pull(l.Get(2), 0))
	if err != nil {
		l.RaiseError("encode %s: %s", name, err.Error())
	}
	s.x.AddLogField(name, raw)
	return 0
}

// tables is kong.table.
func (s *state) tables() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"new": func(l *lua.LState) int { l.Push(l.NewTable()); return 1 },
		"clear": func(l *lua.LState) int {
			t := l.CheckTable(1)
			var keys []lua.LValue
			t.ForEach(func(k, _ lua.LValue) { keys = append(keys, k) })
			for _, k := range keys {
				t.RawSet(k, lua.LNil)
			}
			return 0
		},
		"merge": func(l *lua.LState) int {
			out := l.NewTable()
			for i := 1; i <= 2; i++ {
				if t, ok := l.Get(i).(*lua.LTable); ok {
					t.ForEach(func(k, v lua.LValue) { out.RawSet(k, v) })
				}
			}
			l.Push(out)
			return 1
		},
	})
}
