// Package all lists every plugin of this build. It knows their folders and nothing else; the
// list is made of them. Enter at Definitions.
package all

//go:generate go run list.go

import "github.com/sekifuda/sekifuda/plugin"

// Definitions returns every plugin, for plugin.Load.
func Definitions() []*plugin.Definition { return append([]*plugin.Definition(nil), definitions...) }
