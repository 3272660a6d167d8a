package lua

import (
	"maps"
	"slices"
	"sync"

	"github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// offered are the words that there are, below kong, ngx and Lua's own tables: "kong.request.get_path".
// A word that ends in ".*" has members of any name.
var offered = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	s := newState(&Program{})
	defer s.l.Close()
	collect(words, "", s.env)
	words["ngx.status"] = true
	for _, open := range []string{"kong.ctx.shared", "kong.ctx.plugin", "ngx.ctx", "ngx.var", "ngx.header", "ngx.arg"} {
		words[open+".*"] = true
	}
	return words
})

func collect(words map[string]bool, prefix string, t *lua.LTable) {
	t.ForEach(func(k, v lua.LValue) {
		name, ok := k.(lua.LString)
		if !ok {
			return
		}
		word := prefix + string(name)
		words[word] = true
		if inner, ok := v.(*lua.LTable); ok && inner != t && len(word) < 64 {
			collect(words, word+".", inner)
		}
	})
}

// modules are those that require gives.
var modules = map[string]bool{"cjson": true, "cjson.safe": true}

// absent are words of Lua that the sandbox has not.
var absent = map[string]bool{
	"io": true, "debug": true, "package": true, "load": true, "loadstring": true, "loadfile": true, "dofile": true,
	"module": true, "setfenv": true, "getfenv": true, "collectgarbage": true, "newproxy": true, "jit": true, "ffi": true, "bit": true,
	"coroutine": true,
}

// missing returns the words of a source that there are not, in order. A table that is kept in a
// local variable is followed.
func missing(tree []ast.Stmt) []string {
	c := &checker{alias: map[string]string{}, local: map[string]bool{}, found: map[string]bool{}}
	c.block(tree)
	return slices.Sorted(maps.Keys(c.found))
}

type checker struct {
	alias map[string]string // what a local variable stands for: a word
	local map[string]bool   // names of variables and parameters
	found map[string]bool
}

// word returns the dotted name of an expression below kong, ngx or a table of Lua; "" for others.
func (c *checker) word(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if w, ok := c.alias[e.Value]; ok {
			return w
		}
		if c.local[e.Value] {
			return ""
		}
		return e.Value
	case *ast.AttrGetExpr:
		base := c.word(e.Object)
		key, ok := e.Key.(*ast.StringExpr)
		if base == "" || !ok {
			return ""
		}
		return base + "." + key.Value
	}
	return ""
}

// judge notes a word that there is not: one whose table there is, and one of Lua's own.
func (c *checker) judge(word string) {
	words := offered()
	for i := 0; i <= len(word); i++ {
		if i < len(word) && word[i] != '.' {
			continue
		}
		prefix := word[:i]
		if words[prefix+".*"] {
			return
		}
		if words[prefix] {
			continue
		}
		if i > 0 && hasTable(words, prefix) || absent[prefix] {
			c.found[prefix] = true
		}
		return
	}
}

// hasTable reports whether the table that a word would be in is offered, and is one.
func hasTable(words map[string]bool, word string) bool {
	for i := len(word) - 1; i > 0; i-- {
		if word[i] == '.' {
			return words[word[:i]] && tables()[word[:i]]
		}
	}
	return false
}

// tables are the offered words that have others below.
var tables = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for word := range offered() {
		for i := range word {
			if word[i] == '.' {
				all[word[:i]] = true
			}
		}
	}
	return all
})

func (c *checker) block(list []ast.Stmt) {
	for _, s := range list {
		c.statement(s)
	}
}

func (c *checker) statement(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		c.exprs(s.Lhs)
		c.exprs(s.Rhs)
	case *ast.LocalAssignStmt:
		c.exprs(s.Exprs)
		for i, name := range s.Names {
			c.local[name] = true
			delete(c.alias, name)
			if i < len(s.Exprs) {
				if w := c.word(s.Exprs[i]); w != "" && tables()[w] {
					c.alias[name] = w
				}
			}
		}
	case *ast.FuncCallStmt:
		c.expr(s.Expr)
	case *ast.DoBlockStmt:
		c.block(s.Stmts)
	case *ast.WhileStmt:
		c.expr(s.Condition)
		c.block(s.Stmts)
	case *ast.RepeatStmt:
		c.expr(s.Condition)
		c.block(s.Stmts)
	case *ast.IfStmt:
		c.expr(s.Condition)
		c.block(s.Then)
		c.block(s.Else)
	case *ast.NumberForStmt:
		c.exprs([]ast.Expr{s.Init, s.Limit, s.Step})
		c.local[s.Name] = true
		c.block(s.Stmts)
	case *ast.GenericForStmt:
		c.exprs(s.Exprs)
		for _, n := range s.Names {
			c.local[n] = true
		}
		c.block(s.Stmts)
	case *ast.FuncDefStmt:
		if id, ok := s.Name.Func.(*ast.IdentExpr); ok {
			c.local[id.Value] = true
		}
		c.expr(s.Func)
	case *ast.ReturnStmt:
		c.exprs(s.Exprs)
	}
}

func (c *checker) exprs(list []ast.Expr) {
	for _, e := range list {
		c.expr(e)
	}
}

func (c *checker) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if w := c.word(e); w != "" {
			c.judge(w)
		}
	case *ast.AttrGetExpr:
		if w := c.word(e); w != "" {
			c.judge(w)
			return
		}
		c.expr(e.Object)
		c.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			c.exprs([]ast.Expr{f.Key, f.Value})
		}
	case *ast.FuncCallExpr:
		c.call(e)
	case *ast.LogicalOpExpr:
		c.exprs([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.RelationalOpExpr:
		c.exprs([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.StringConcatOpExpr:
		c.exprs([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.ArithmeticOpExpr:
		c.exprs([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.UnaryMinusOpExpr:
		c.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		c.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		c.expr(e.Expr)
	case *ast.FunctionExpr:
		if e.ParList != nil {
			for _, n := range e.ParList.Names {
				c.local[n] = true
			}
		}
		c.block(e.Stmts)
	}
}

// call looks at a call: what is called, what a method is called on, and which module is required.
func (c *checker) call(e *ast.FuncCallExpr) {
	c.expr(e.Func)
	if w := c.word(e.Receiver); w != "" && e.Receiver != nil {
		c.judge(w + "." + e.Method)
	} else if e.Receiver != nil {
		c.expr(e.Receiver)
	}
	c.exprs(e.Args)
	if id, ok := e.Func.(*ast.IdentExpr); ok && id.Value == "require" && len(e.Args) == 1 {
		if name, ok := e.Args[0].(*ast.StringExpr); ok && !modules[name.Value] {
			c.found[`require "`+name.Value+`"`] = true
		}
	}
}
