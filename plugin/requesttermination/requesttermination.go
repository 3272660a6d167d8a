// Package requesttermination answers requests itself, in place of the upstream.
//
// It knows a fixed answer, and how to show a request to the one who sent it. Enter at
// Definition.
package requesttermination

import (
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// texts are what statuses say when the configuration does not, in Kong 3.9.1.
var texts = map[int]string{
	401: "Unauthorized",
	404: "Not found",
	405: "Method not allowed",
	500: "An unexpected error occurred",
	502: "Bad Gateway",
	503: "Service unavailable",
}

// New makes the answer ready.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	status := http.StatusServiceUnavailable
	if c.StatusCode != nil {
		status = int(c.GetStatusCode())
	}
	text := c.GetMessage()
	if c.Message == nil {
		text = texts[status]
	}
	f := &filter{trigger: c.GetTrigger(), dashed: strings.ReplaceAll(c.GetTrigger(), "_", "-")}
	switch {
	case c.GetEcho():
		f.echo = &echo{status: status, message: text, node: h.NodeID()}
	case c.Body != nil:
		f.answer = plugin.Exit(status, c.GetContentType(), c.GetBody())
	case c.Message != nil || text != "":
		f.answer = plugin.ExitMessage(status, text)
	default:
		f.answer = plugin.Exit(status, "", "")
	}
	f.answer = f.answer.Because(reason)
	return f, nil
}

const reason = "terminated"

type filter struct {
	trigger, dashed string
	answer          plugin.Verdict
	echo            *echo // nil: the answer is fixed
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest answers, unless there is a trigger and the request lacks it.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if f.trigger != "" && !f.triggered(x) {
		return plugin.Next
	}
	if f.echo != nil {
		return f.echo.answer(x)
	}
	return f.answer
}

// triggered looks for a header or query argument of the trigger's name. Like Kong, it finds
// the header x-trig by the name x_trig too.
func (f *filter) triggered(x *plugin.Exchange) bool {
	h := &x.Request.Header
	if _, ok := h.Lookup(f.trigger); ok {
		return true
	}
	if _, ok := h.Lookup(f.dashed); ok {
		return true
	}
	for a := range plugin.Arguments(x.Upstream.Query) {
		if a.Name == f.trigger {
			return true
		}
	}
	return false
}
