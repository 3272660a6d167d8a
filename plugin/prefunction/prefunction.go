// Package prefunction runs functions in Lua before all other plugins.
//
// It knows its name; package lua knows the language. Enter at Definition.
package prefunction

import (
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/lua"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the functions. One that uses what is not there cannot run.
func New(c *Config, h plugin.Host) (plugin.Filter, error) { return lua.NewFilter("pre-function", c, h) }
