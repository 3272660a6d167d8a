// Package lua runs functions in Lua over an exchange, with the part of Kong's development kit
// that they use: kong.*, ngx.* and cjson, in a sandbox, for a bounded time.
//
// It knows what the words do to an exchange; when functions run is a plugin's. What is not there
// is refused by name when a function is compiled. It is no plugin. Enter at Compile.
package lua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// limit is for how long the functions of one phase may run. Kong has none; who loops for
	// ever would hold a gate's core.
	limit = time.Second
	// maxIdle bounds the states that wait for the next exchange: as many as run at a time.
	maxIdle = 64
)

// Phase is when a function runs.
type Phase string

// The phases of Kong that functions run in.
const (
	Rewrite      Phase = "rewrite"
	Access       Phase = "access"
	HeaderFilter Phase = "header_filter"
	BodyFilter   Phase = "body_filter"
	Log          Phase = "log"
)

// Program is functions by phase. It is safe for concurrent use: states of Lua are kept apart, as
// those of Kong's workers are, and so are the upvalues that functions keep.
type Program struct {
	name   string // of the plugin
	host   plugin.Host
	log    *slog.Logger
	chunks map[Phase][]*lua.FunctionProto

	mu   sync.Mutex // guards idle
	idle []*state
}

// Compile reads the functions of a plugin; those of certificate cannot run here. The error names the field of each that cannot run:
// "config.access[1]: ...".
func Compile(name string, sources map[Phase][]string, certificate []string, h plugin.Host) (*Program, error) {
	p := &Program{name: name, host: h, log: h.Logger(), chunks: map[Phase][]*lua.FunctionProto{}}
	var problems []error
	if len(certificate) > 0 {
		problems = append(problems, errors.New("config.certificate: functions are not run before a certificate is chosen"))
	}
	for _, phase := range []Phase{Rewrite, Access, HeaderFilter, BodyFilter, Log} {
		for i, source := range sources[phase] {
			proto, err := compile(name, source)
			if err != nil {
				problems = append(problems, fmt.Errorf("config.%s[%d]: %w", phase, i+1, err))
				continue
			}
			p.chunks[phase] = append(p.chunks[phase], proto)
		}
	}
	return p, errors.Join(problems...)
}

func compile(name, source string) (*lua.FunctionProto, error) {
	tree, err := parseSource(source)
	if err != nil {
		return nil, fmt.Errorf("error parsing %s: %w", name, err)
	}
	if missing := missing(tree); len(missing) > 0 {
		return nil, fmt.Errorf("not available: %s", strings.Join(missing, ", "))
	}
	proto, err := lua.Compile(tree, label(source))
	if err != nil {
		return nil, fmt.Errorf("error parsing %s: %w", name, err)
	}
	return proto, nil
}

// CompileValue reads one function whose result counts, which runs in the log phase.
func CompileValue(name, source string, h plugin.Host) (*Program, error) {
	proto, err := compile(name, source)
	if err != nil {
		return nil, err
	}
	return &Program{name: name, host: h, log: h.Logger(), chunks: map[Phase][]*lua.FunctionProto{Log: {proto}}}, nil
}

// Value runs the function and returns what it results in, as JSON; nil: in nothing.
func (p *Program) Value(x *plugin.Exchange) ([]byte, error) {
	s := p.take()
	defer p.give(s)
	if _, err := s.run(x, Log); err != nil || s.result == nil {
		return nil, err
	}
	return encode(s.result)
}

// parseSource reads a source; its error is in the words of LuaJIT, as far as they are known.
func parseSource(source string) (tree []ast.Stmt, err error) {
	tree, err = parse.Parse(strings.NewReader(source), label(source))
	var wrong *parse.Error
	if !errors.As(err, &wrong) {
		return tree, err
	}
	near := wrong.Token
	if wrong.Pos.Line == parse.EOF || near == "" {
		near = "<eof>"
	}
	line := wrong.Pos.Line
	if line <= 0 {
		line = strings.Count(source, "\n") + 1
	}
	return nil, fmt.Errorf("%s:%d: unexpected symbol near '%s'", label(source), line, near)
}

// label is how Lua names a source in messages.
func label(source string) string {
	first, _, more := strings.Cut(source, "\n")
	if more || len(first) > 40 {
		first = first[:min(len(first), 37)] + "..."
	}
	return `[string "` + first + `"]`
}

// Has reports whether there are functions for a phase.
func (p *Program) Has(phase Phase) bool { return len(p.chunks[phase]) > 0 }

// Run runs the functions of a phase. The verdict is that of a function that answered; the error
// is that of one that failed.
func (p *Program) Run(x *plugin.Exchange, phase Phase) (plugin.Verdict, error) {
	s := p.take()
	defer p.give(s)
	return s.run(x, phase)
}

// Piece runs the functions of the body filter over a piece of an answer, and returns what is to
// be sent.
func (p *Program) Piece(x *plugin.Exchange, piece []byte, last bool) ([]byte, error) {
	s := p.take()
	defer p.give(s)
	s.piece, s.last = piece, last
	_, err := s.run(x, BodyFilter)
	return s.piece, err
}

func (p *Program) take() *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return s
	}
	return newState(p)
}

func (p *Program) give(s *state) {
	s.forget()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.broken || len(p.idle) >= maxIdle {
		s.l.Close()
		return
	}
	p.idle = append(p.idle, s)
}

// state is one state of Lua. It belongs to one goroutine at a time.
type state struct {
	p    *Program
	l    *lua.LState
	env  *lua.LTable
	funs map[Phase][]*function

	x       *plugin.Exchange
	phase   Phase
	cancel  context.CancelFunc
	verdict plugin.Verdict // of a function that answered
	output  strings.Builder
	said    bool // something was printed
	status  int  // ngx.status; 0: not set
	piece   []byte
	last    bool
	result  any  // of the function that ran last
	broken  bool // it was stopped in the middle
}

// function is one source in a state.
type function struct {
	f   *lua.LFunction
	ran bool
}

func (s *state) forget() {
	s.x, s.cancel, s.verdict, s.said, s.status, s.piece, s.last, s.result = nil, nil, plugin.Next, false, 0, nil, false, nil
	s.output.Reset()
}

func (s *state) run(x *plugin.Exchange, phase Phase) (plugin.Verdict, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.Context()), limit)
	defer cancel()
	s.x, s.phase, s.cancel = x, phase, cancel
	s.l.SetContext(ctx)
	defer s.l.RemoveContext()
	for _, f := range s.funs[phase] {
		if err := s.call(f); err != nil {
			if s.verdict.Done() || s.ended() {
				break // the function ended by answering
			}
			s.broken = true
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return plugin.Next, fmt.Errorf("%s ran for longer than %v", s.p.name, limit)
			}
			return plugin.Next, fmt.Errorf("run %s: %w", s.p.name, err)
		}
		if s.said {
			break // the answer has begun
		}
	}
	if !s.verdict.Done() && s.said {
		s.verdict = s.printed()
	}
	return s.verdict, nil
}

// ended reports whether a function ended its phase without an answer.
func (s *state) ended() bool { return s.cancel == nil }

// call runs a function. One that returns a function the first time makes that the one which runs
// from now on, as in Kong: what is before it runs once for each state.
func (s *state) call(f *function) error {
	first := !f.ran
	f.ran = true
	s.l.SetTop(0)
	s.l.Push(f.f)
	if err := s.l.PCall(0, 1, nil); err != nil {
		return err
	}
	next, ok := s.l.Get(-1).(*lua.LFunction)
	s.result = pull(s.l.Get(-1), 0)
	s.l.SetTop(0)
	if !ok || !first {
		return nil
	}
	f.f = next
	s.l.Push(next)
	return s.l.PCall(0, 0, nil)
}

// stop ends the function that runs: no further instruction of it is executed, whatever catches
// errors.
func (s *state) stop() {
	cancel := s.cancel
	s.cancel = nil
	cancel()
}

// shared is under which key an exchange has kong.ctx.shared.
type sharedKey struct{ _ byte }

var shared = &sharedKey{}
