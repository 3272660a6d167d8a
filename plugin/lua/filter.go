package lua

import (
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
)

// Functions are the sources of a plugin's config.
type Functions interface {
	GetCertificate() []string
	GetRewrite() []string
	GetAccess() []string
	GetHeaderFilter() []string
	GetBodyFilter() []string
	GetLog() []string
}

// NewFilter makes the filter of a plugin that runs functions. The error names what cannot run.
func NewFilter(name string, f Functions, h plugin.Host) (plugin.Filter, error) {
	p, err := Compile(name, map[Phase][]string{
		Rewrite: f.GetRewrite(), Access: f.GetAccess(), HeaderFilter: f.GetHeaderFilter(), BodyFilter: f.GetBodyFilter(), Log: f.GetLog(),
	}, f.GetCertificate(), h)
	if err != nil {
		return nil, err
	}
	scope := h.Scope()
	return &filter{Program: p, global: scope.RouteID == "" && scope.ServiceID == ""}, nil
}

type filter struct {
	*Program
	global bool // it is for all routes: functions of rewrite run, as in Kong
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
)

// OnRequest runs the functions of rewrite and access. One that fails is 500.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	for _, phase := range [2]Phase{Rewrite, Access} {
		if !f.Has(phase) || phase == Rewrite && !f.global {
			continue
		}
		v, err := f.Run(x, phase)
		if err != nil {
			f.log.Error("run function", "plugin", f.name, "phase", phase, "error", err)
			return plugin.Deny(http.StatusInternalServerError, "").Because("function-failed")
		}
		if v.Done() {
			return v
		}
	}
	return plugin.Next
}

// OnResponse runs the functions of the header filter, and has those of the body filter see the
// body as it comes. One that fails changes nothing more.
func (f *filter) OnResponse(x *plugin.Exchange) {
	f.note(x, HeaderFilter)
	if !f.Has(BodyFilter) {
		return
	}
	failed := false
	x.Response.Edit(func(piece []byte, last bool) []byte {
		if failed {
			return piece
		}
		out, err := f.Piece(x, piece, last)
		if err != nil {
			failed = true
			f.log.Error("run function", "plugin", f.name, "phase", BodyFilter, "error", err)
			return piece
		}
		return out
	})
}

// OnLog runs the functions of the log phase.
func (f *filter) OnLog(x *plugin.Exchange) { f.note(x, Log) }

func (f *filter) note(x *plugin.Exchange, phase Phase) {
	if !f.Has(phase) {
		return
	}
	if _, err := f.Run(x, phase); err != nil {
		f.log.Error("run function", "plugin", f.name, "phase", phase, "error", err)
	}
}
