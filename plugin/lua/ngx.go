package lua

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // what scripts ask for
	"crypto/sha1" //nolint:gosec // what scripts ask for
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/yuin/gopher-lua"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// levels are nginx's, by name.
var levels = map[string]int{"STDERR": 0, "EMERG": 1, "ALERT": 2, "CRIT": 3, "ERR": 4, "WARN": 5, "NOTICE": 6, "INFO": 7, "DEBUG": 8}

// statuses are the constants that scripts use.
var statuses = map[string]int{
	"OK": 0, "HTTP_OK": 200, "HTTP_CREATED": 201, "HTTP_ACCEPTED": 202, "HTTP_NO_CONTENT": 204, "HTTP_MOVED_PERMANENTLY": 301,
	"HTTP_MOVED_TEMPORARILY": 302, "HTTP_NOT_MODIFIED": 304, "HTTP_BAD_REQUEST": 400, "HTTP_UNAUTHORIZED": 401, "HTTP_FORBIDDEN": 403,
	"HTTP_NOT_FOUND": 404, "HTTP_NOT_ALLOWED": 405, "HTTP_TOO_MANY_REQUESTS": 429, "HTTP_INTERNAL_SERVER_ERROR": 500,
	"HTTP_BAD_GATEWAY": 502, "HTTP_SERVICE_UNAVAILABLE": 503, "HTTP_GATEWAY_TIMEOUT": 504,
}

// ngx is the table of that name: the basics.
func (s *state) ngx() *lua.LTable {
	t := s.table(map[string]lua.LGFunction{
		"exit":      s.ngxExit,
		"say":       func(l *lua.LState) int { return s.say(joined(l, 1) + "\n") },
		"print":     func(l *lua.LState) int { return s.say(joined(l, 1)) },
		"log":       s.ngxLog,
		"now":       func(l *lua.LState) int { l.Push(lua.LNumber(float64(time.Now().UnixMilli()) / 1000)); return 1 },
		"time":      func(l *lua.LState) int { l.Push(lua.LNumber(time.Now().Unix())); return 1 },
		"get_phase": func(l *lua.LState) int { return text(l, string(s.phase), true) },
		"md5": func(l *lua.LState) int {
			sum := md5.Sum([]byte(l.CheckString(1)))
			return text(l, hex.EncodeToString(sum[:]), true)
		}, //nolint:gosec // see above
		"sha1_bin": func(l *lua.LState) int {
			sum := sha1.Sum([]byte(l.CheckString(1)))
			return text(l, string(sum[:]), true)
		}, //nolint:gosec // see above
		"hmac_sha1": hmacSHA1,
		"encode_base64": func(l *lua.LState) int {
			return text(l, base64.StdEncoding.EncodeToString([]byte(l.CheckString(1))), true)
		},
		"decode_base64": func(l *lua.LState) int {
			plain, err := base64.StdEncoding.DecodeString(l.CheckString(1))
			return text(l, string(plain), err == nil)
		},
		"escape_uri": func(l *lua.LState) int { return text(l, escape(l.CheckString(1)), true) },
		"unescape_uri": func(l *lua.LState) int {
			plain, err := url.QueryUnescape(l.CheckString(1))
			if err != nil {
				plain = l.CheckString(1)
			}
			return text(l, plain, true)
		},
		"encode_args": func(l *lua.LState) int { return text(l, arguments(l.CheckTable(1)), true) },
		"decode_args": func(l *lua.LState) int { l.Push(s.push(payload.Arguments(l.CheckString(1)))); return 1 },
	})
	for name, n := range levels {
		t.RawSetString(name, lua.LNumber(n))
	}
	for name, n := range statuses {
		t.RawSetString(name, lua.LNumber(n))
	}
	t.RawSetString("null", s.null())
	t.RawSetString("var", s.magic(s.variable, s.setVariable))
	t.RawSetString("ctx", s.context(func() any { return ngxContext }))
	t.RawSetString("header", s.magic(func(name string) lua.LValue {
		v, ok := s.told().Lookup(strings.ReplaceAll(name, "_", "-"))
		if !ok {
			return lua.LNil
		}
		return lua.LString(strings.Clone(v))
	}, func(name string, v lua.LValue) {
		name = strings.ReplaceAll(name, "_", "-")
		if v == lua.LNil {
			s.answer().Del(name)
			return
		}
		s.setAnswer(s.l, name, v)
	}))
	t.RawSetString("req", s.ngxRequest())
	t.RawSetString("re", s.table(map[string]lua.LGFunction{"match": s.reMatch, "find": s.reFind, "gsub": reGsub(true), "sub": reGsub(false)}))
	t.RawSetString("worker", s.table(map[string]lua.LGFunction{
		"pid":   func(l *lua.LState) int { l.Push(lua.LNumber(os.Getpid())); return 1 },
		"id":    func(l *lua.LState) int { l.Push(lua.LNumber(0)); return 1 },
		"count": func(l *lua.LState) int { l.Push(lua.LNumber(1)); return 1 },
	}))
	t.RawSetString("arg", s.magic(s.ngxArg, s.setNgxArg))
	return s.withStatus(t)
}

// ngxContext is under which key an exchange has ngx.ctx.
var ngxContext = &sharedKey{}

// withStatus makes ngx.status a member that is looked up and set.
func (s *state) withStatus(t *lua.LTable) *lua.LTable {
	meta := s.l.NewTable()
	meta.RawSetString("__index", s.l.NewFunction(func(l *lua.LState) int {
		if lua.LVAsString(l.Get(2)) == "status" && s.x != nil {
			l.Push(lua.LNumber(s.statusNow()))
			return 1
		}
		l.Push(lua.LNil)
		return 1
	}))
	meta.RawSetString("__newindex", s.l.NewFunction(func(l *lua.LState) int {
		if name := l.CheckString(2); name != "status" {
			l.RaiseError("ngx.%s cannot be set", name)
		}
		s.setStatus(argument(l, 3, 100, 599))
		return 0
	}))
	t.Metatable = meta
	return t
}

func (s *state) null() lua.LValue {
	if v, ok := s.l.G.Registry.RawGetString("null").(*lua.LUserData); ok {
		return v
	}
	v := s.l.NewUserData()
	v.Value = theNull
	s.l.G.Registry.RawSetString("null", v)
	return v
}

// say prints into the answer.
func (s *state) say(what string) int {
	s.only(Rewrite, Access)
	if s.output.Len()+len(what) > maxText {
		s.l.RaiseError("the answer is longer than %d bytes", maxText)
	}
	s.output.WriteString(what)
	s.said = true
	return 0
}

// ngxExit ends the phase: with what was printed, with a status, or without an answer.
func (s *state) ngxExit(l *lua.LState) int {
	status := l.OptInt(1, 0)
	if s.phase != Rewrite && s.phase != Access {
		s.stop()
		l.RaiseError("the phase is over")
	}
	switch {
	case s.said:
		if s.status == 0 && status >= http.StatusOK {
			s.status = status
		}
		return s.end(s.printed())
	case status >= http.StatusBadRequest && status <= 599:
		return s.end(plugin.Deny(status, ""))
	case status >= http.StatusOK && status < http.StatusBadRequest:
		return s.end(plugin.Exit(status, "", ""))
	}
	s.stop()
	l.RaiseError("the phase is over")
	return 0
}

func (s *state) ngxLog(l *lua.LState) int {
	message := joined(l, 2)
	switch level := l.CheckInt(1); {
	case level <= levels["ERR"]:
		s.p.log.Error(message, "plugin", s.p.name)
	case level == levels["WARN"]:
		s.p.log.Warn(message, "plugin", s.p.name)
	case level == levels["DEBUG"]:
		s.p.log.Debug(message, "plugin", s.p.name)
	default:
		s.p.log.Info(message, "plugin", s.p.name)
	}
	return 0
}

func hmacSHA1(l *lua.LState) int {
	m := hmac.New(sha1.New, []byte(l.CheckString(1)))
	m.Write([]byte(l.CheckString(2)))
	return text(l, string(m.Sum(nil)), true)
}

// variable is ngx.var.NAME; nil: there is none, or it is empty.
func (s *state) variable(name string) lua.LValue {
	x := s.x
	v := ""
	switch name {
	case "args", "query_string":
		v = x.Request.Query
	case "uri", "document_uri":
		v = x.Request.Path
	case "request_uri":
		v = withQuery(x)
	case "upstream_uri":
		v = x.Upstream.Path
	case "host":
		v = strings.ToLower(hostOf(x.Request.Host))
	case "http_host":
		v = x.Request.Host
	case "scheme":
		v = x.Request.Scheme
	case "request_method":
		v = x.Request.Method
	case "remote_addr":
		v = x.Client.Unmap().String()
	case "realip_remote_addr":
		v = x.Peer.Addr().Unmap().String()
	case "remote_port":
		v = strconv.Itoa(int(x.Peer.Port()))
	case "server_port":
		v = strconv.Itoa(int(x.Local.Port()))
	case "server_addr":
		v = x.Local.Addr().Unmap().String()
	case "request_id", "kong_request_id":
		v = x.ID
	case "content_type":
		v = x.Request.Header.Get("Content-Type")
	case "content_length":
		v = x.Request.Header.Get("Content-Length")
	case "status":
		v = strconv.Itoa(s.statusNow())
	default:
		return s.dynamic(name)
	}
	if v == "" {
		return lua.LNil
	}
	return lua.LString(strings.Clone(v))
}

// dynamic are variables of headers, arguments and cookies. Others are an error: nginx would have
// none, and a script would not learn that it is wrong.
func (s *state) dynamic(name string) lua.LValue {
	find := func(v string, ok bool) lua.LValue {
		if !ok {
			return lua.LNil
		}
		return lua.LString(strings.Clone(v))
	}
	if rest, ok := strings.CutPrefix(name, "http_"); ok {
		return find(s.x.Request.Header.Lookup(strings.ReplaceAll(rest, "_", "-")))
	}
	if rest, ok := strings.CutPrefix(name, "sent_http_"); ok {
		return find(s.told().Lookup(strings.ReplaceAll(rest, "_", "-")))
	}
	if rest, ok := strings.CutPrefix(name, "arg_"); ok {
		v, n := payload.ParseArgs(s.x.Request.Query).Lookup(rest)
		return find(v, n > 0)
	}
	if rest, ok := strings.CutPrefix(name, "cookie_"); ok {
		for lines := range s.x.Request.Header.Values("Cookie") {
			for pair := range strings.SplitSeq(lines, ";") {
				if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == rest {
					return find(v, true)
				}
			}
		}
		return lua.LNil
	}
	s.l.RaiseError("ngx.var.%s is not available", name)
	return lua.LNil
}

func (s *state) setVariable(name string, v lua.LValue) {
	s.only(Rewrite, Access)
	value := lua.LVAsString(keyText(v))
	switch name {
	case "args":
		s.x.Upstream.Query = query(s.l, value)
	case "upstream_uri":
		path, q, both := strings.Cut(value, "?")
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #\r\n\x00") {
			s.l.RaiseError("upstream_uri must start with / and be escaped")
		}
		if s.x.Upstream.Path = path; both {
			s.x.Upstream.Query = query(s.l, q)
		}
	case "upstream_host":
		s.x.Upstream.Host = strings.Join(line(s.l, "host", v), "")
	default:
		s.l.RaiseError("ngx.var.%s cannot be set", name)
	}
}

func (s *state) ngxRequest() *lua.LTable {
	return s.table(map[string]lua.LGFunction{
		"get_method":  func(l *lua.LState) int { return text(l, s.x.Request.Method, true) },
		"get_headers": func(l *lua.LState) int { l.Push(s.headers(&s.x.Request.Header)); return 1 },
		"set_header": func(l *lua.LState) int {
			s.only(Rewrite, Access)
			s.setRequest(l, l.CheckString(1), l.CheckAny(2))
			return 0
		},
		"clear_header":  func(l *lua.LState) int { s.only(Rewrite, Access); s.x.Request.Header.Del(l.CheckString(1)); return 0 },
		"get_uri_args":  func(l *lua.LState) int { l.Push(s.push(payload.Arguments(s.x.Request.Query))); return 1 },
		"set_uri_args":  s.setURIArgs,
		"read_body":     func(*lua.LState) int { return 0 },
		"get_body_data": func(l *lua.LState) int { b := s.body(); return text(l, string(b), len(b) > 0) },
		"set_body_data": func(l *lua.LState) int { s.only(Rewrite, Access); s.x.SetBody([]byte(l.CheckString(1))); return 0 },
		"get_post_args": func(l *lua.LState) int { l.Push(s.push(payload.Arguments(string(s.body())))); return 1 },
		"start_time":    s.number(func(x *plugin.Exchange) float64 { return float64(x.Times.Start.UnixMilli()) / 1000 }),
		"http_version":  s.number(func(x *plugin.Exchange) float64 { return float64(x.Request.Major) + float64(x.Request.Minor)/10 }),
	})
}

func (s *state) setURIArgs(l *lua.LState) int {
	s.only(Rewrite, Access)
	if t, ok := l.Get(1).(*lua.LTable); ok {
		s.x.Upstream.Query = arguments(t)
	} else {
		s.x.Upstream.Query = query(l, l.CheckString(1))
	}
	return 0
}

// ngxArg is ngx.arg[1], the piece, and ngx.arg[2], whether it is the last.
func (s *state) ngxArg(name string) lua.LValue {
	s.only(BodyFilter)
	switch name {
	case "1":
		return lua.LString(s.piece)
	case "2":
		return lua.LBool(s.last)
	}
	return lua.LNil
}

func (s *state) setNgxArg(name string, v lua.LValue) {
	s.only(BodyFilter)
	if name != "1" {
		s.l.RaiseError("ngx.arg[%s] cannot be set", name)
	}
	s.piece = nil
	if v != lua.LNil {
		s.piece = []byte(strings.Join(texts(v), ""))
	}
}

// pattern compiles a regular expression of ngx.re with its options.
func pattern(l *lua.LState, n int) *regexp.Regexp {
	flags := ""
	for _, o := range l.OptString(n+1, "") {
		switch o {
		case 'i', 'm', 's':
			flags += string(o)
		case 'j', 'o', 'u', 'U', 'D':
		default:
			l.ArgError(n+1, "option "+string(o)+" is not available")
		}
	}
	source := l.CheckString(n)
	if flags != "" {
		source = "(?" + flags + ")" + source
	}
	re, err := regexp.Compile(source)
	if err != nil {
		l.ArgError(n, err.Error())
	}
	return re
}

func (s *state) reMatch(l *lua.LState) int {
	re, subject := pattern(l, 2), l.CheckString(1)
	m := re.FindStringSubmatchIndex(subject)
	if m == nil {
		l.Push(lua.LNil)
		return 1
	}
	t := l.NewTable()
	for i, name := range re.SubexpNames() {
		if m[2*i] < 0 {
			t.RawSetInt(i, lua.LFalse)
			continue
		}
		v := lua.LString(subject[m[2*i]:m[2*i+1]])
		t.RawSetInt(i, v)
		if name != "" {
			t.RawSetString(name, v)
		}
	}
	l.Push(t)
	return 1
}

func (s *state) reFind(l *lua.LState) int {
	m := pattern(l, 2).FindStringIndex(l.CheckString(1))
	if m == nil {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LNumber(m[0] + 1))
	l.Push(lua.LNumber(m[1]))
	return 2
}

// dollar are references of a replacement: "$1", "${1}", "$$".
var dollar = regexp.MustCompile(`\$(\$|\d+|\{\d+\})`)

// reGsub replaces all matches, or the first, and returns how many there were.
func reGsub(all bool) lua.LGFunction {
	return func(l *lua.LState) int {
		subject, re, with := l.CheckString(1), pattern4(l), l.CheckString(3)
		limit := 1
		if all {
			limit = -1
		}
		matches := re.FindAllStringSubmatchIndex(subject, limit)
		var b strings.Builder
		at := 0
		for _, m := range matches {
			b.WriteString(subject[at:m[0]])
			b.WriteString(dollar.ReplaceAllStringFunc(with, func(ref string) string {
				n, err := strconv.Atoi(strings.Trim(ref, "${}"))
				if err != nil {
					return "$"
				}
				if 2*n+1 >= len(m) || m[2*n] < 0 {
					return ""
				}
				return subject[m[2*n]:m[2*n+1]]
			}))
			at = m[1]
		}
		b.WriteString(subject[at:])
		l.Push(lua.LString(b.String()))
		l.Push(lua.LNumber(len(matches)))
		return 2
	}
}

// pattern4 is pattern where the options come after the replacement.
func pattern4(l *lua.LState) *regexp.Regexp {
	options := l.Get(4)
	with := l.Get(3)
	l.Replace(3, options)
	re := pattern(l, 2)
	l.Replace(3, with)
	return re
}

// cjson is the module: loud raises errors, else they are returned.
func (s *state) cjson(loud bool) *lua.LTable {
	failed := func(l *lua.LState, err error) int {
		if loud {
			l.RaiseError("%s", err.Error())
		}
		l.Push(lua.LNil)
		l.Push(lua.LString(err.Error()))
		return 2
	}
	t := s.table(map[string]lua.LGFunction{
		"encode": func(l *lua.LState) int {
			raw, err := encode(pull(l.Get(1), 0))
			if err != nil {
				return failed(l, err)
			}
			return text(l, string(raw), true)
		},
		"decode": func(l *lua.LState) int {
			var v any
			if err := json.Unmarshal([]byte(l.CheckString(1)), &v); err != nil {
				return failed(l, err)
			}
			l.Push(s.push(nulls(v)))
			return 1
		},
	})
	t.RawSetString("null", s.null())
	return t
}
