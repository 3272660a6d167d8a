package lua

import (
	"strings"

	"github.com/yuin/gopher-lua"
)

// What a state may take: calls within calls, and values on its stack.
const (
	callDepth = 200
	stackSize = 1 << 10
	maxStack  = 1 << 17
	// maxText bounds a text that one call of Lua's own functions makes.
	maxText = 8 << 20
)

// safe are Lua's own words that a function may use.
var safe = map[string][]string{
	"":       {"assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack", "xpcall", "rawget", "rawset", "rawequal", "setmetatable", "getmetatable", "_VERSION"},
	"string": {"byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub", "upper"},
	"table":  {"concat", "insert", "maxn", "remove", "sort"},
	"math":   {"abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "modf", "pi", "pow", "rad", "random", "sin", "sinh", "sqrt", "tan", "tanh"},
	"os":     {"clock", "date", "difftime", "time"},
}

// newState makes a state with the functions of a program.
func newState(p *Program) *state {
	l := lua.NewState(lua.Options{
		CallStackSize: callDepth, RegistrySize: stackSize, RegistryMaxSize: maxStack, SkipOpenLibs: true, MinimizeStackMemory: true,
	})
	s := &state{p: p, l: l, env: l.NewTable(), funs: map[Phase][]*function{}}
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath, lua.OsLibName: lua.OpenOs,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	s.sandbox()
	s.env.RawSetString("kong", s.kong())
	s.env.RawSetString("ngx", s.ngx())
	for phase, chunks := range p.chunks {
		for _, chunk := range chunks {
			f := l.NewFunctionFromProto(chunk)
			f.Env = s.env
			s.funs[phase] = append(s.funs[phase], &function{f: f})
		}
	}
	return s
}

// sandbox offers Lua's own words that do no harm.
func (s *state) sandbox() {
	for table, words := range safe {
		from, to := s.l.G.Global, s.env
		if table != "" {
			from, _ = s.l.G.Global.RawGetString(table).(*lua.LTable)
			to = s.l.NewTable()
			s.env.RawSetString(table, to)
		}
		for _, word := range words {
			to.RawSetString(word, from.RawGetString(word))
		}
	}
	s.env.RawSetString("_G", s.env)
	s.env.RawSetString("print", s.l.NewFunction(func(l *lua.LState) int {
		s.p.log.Info(joined(l, 1), "plugin", s.p.name)
		return 0
	}))
	s.env.RawSetString("require", s.l.NewFunction(s.require))
	text, _ := s.env.RawGetString("string").(*lua.LTable)
	text.RawSetString("rep", s.l.NewFunction(rep))
	// Methods of texts ("x"):rep(3) are looked up here.
	if meta, ok := s.l.GetMetatable(lua.LString("")).(*lua.LTable); ok {
		meta.RawSetString("__index", text)
	}
}

// rep is string.rep, with a bound.
func rep(l *lua.LState) int {
	text, n := l.CheckString(1), l.CheckInt(2)
	if n > 0 && len(text) > maxText/n {
		l.RaiseError("the text would be longer than %d bytes", maxText)
	}
	l.Push(lua.LString(strings.Repeat(text, max(n, 0))))
	return 1
}

// require gives cjson, which raises errors, and cjson.safe, which returns them.
func (s *state) require(l *lua.LState) int {
	switch name := l.CheckString(1); name {
	case "cjson":
		l.Push(s.cjson(true))
	case "cjson.safe":
		l.Push(s.cjson(false))
	default:
		l.RaiseError("require %q is not available", name)
	}
	return 1
}

// table makes a table of functions.
func (s *state) table(functions map[string]lua.LGFunction) *lua.LTable {
	t := s.l.CreateTable(0, len(functions))
	for name, f := range functions {
		t.RawSetString(name, s.l.NewFunction(f))
	}
	return t
}

// magic makes a table whose members are what get returns, and go where set puts them (nil:
// nowhere).
func (s *state) magic(get func(name string) lua.LValue, set func(name string, v lua.LValue)) *lua.LTable {
	t, meta := s.l.NewTable(), s.l.NewTable()
	meta.RawSetString("__index", s.l.NewFunction(func(l *lua.LState) int {
		l.Push(get(lua.LVAsString(keyText(l.Get(2)))))
		return 1
	}))
	meta.RawSetString("__newindex", s.l.NewFunction(func(l *lua.LState) int {
		if set == nil {
			l.RaiseError("the table cannot be changed")
		}
		set(lua.LVAsString(keyText(l.Get(2))), l.Get(3))
		return 0
	}))
	t.Metatable = meta
	return t
}

// joined writes the arguments of a call from one on, one after the other, as logs and answers have
// them.
func joined(l *lua.LState, from int) string {
	var b strings.Builder
	for i := from; i <= l.GetTop(); i++ {
		write(&b, l.Get(i), 0)
	}
	return b.String()
}

func write(b *strings.Builder, v lua.LValue, depth int) {
	t, ok := v.(*lua.LTable)
	if !ok || depth > maxDepth {
		b.WriteString(v.String())
		return
	}
	for i := 1; i <= t.Len(); i++ {
		write(b, t.RawGetInt(i), depth+1)
	}
}

// text pushes one, or nil when it is not there.
func text(l *lua.LState, v string, there bool) int {
	if !there {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LString(strings.Clone(v)))
	return 1
}
