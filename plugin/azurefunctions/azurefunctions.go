// Package azurefunctions answers requests with what a function of Azure says.
//
// It knows where functions are and how they are told a key; package function makes the call.
// Enter at Definition.
package azurefunctions

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/function"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles where the function is.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	client, err := function.NewClient(function.Options{
		Timeout: function.Milliseconds(c.Timeout, 600000), Keepalive: function.Milliseconds(c.Keepalive, 60000), Insecure: !c.GetHttpsVerify(),
	})
	if err != nil {
		return nil, err
	}
	f := &filter{log: h.Logger(), client: client, key: c.GetApikey(), id: c.GetClientid(), url: "https://"}
	if c.Https != nil && !c.GetHttps() {
		f.url = "http://"
	}
	f.url += c.GetAppname() + "." + c.GetHostdomain()
	if prefix := strings.Trim(c.GetRouteprefix(), "/"); prefix != "" {
		f.url += "/" + prefix
	}
	f.url += "/" + strings.Trim(c.GetFunctionname(), "/")
	if _, err := http.NewRequest(http.MethodGet, f.url, nil); err != nil {
		return nil, fmt.Errorf("config: %s is no address: %w", f.url, err)
	}
	return f, nil
}

type filter struct {
	log     *slog.Logger
	client  *http.Client
	url     string
	key, id string
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest sends the request to the function and answers with what it says.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	r, err := f.request(x)
	if err != nil {
		return f.fail(err)
	}
	answer, body, err := function.Call(f.client, r)
	if err != nil {
		return f.fail(err)
	}
	return function.Answer(x, answer.StatusCode, answer.Header, body)
}

func (f *filter) fail(err error) plugin.Verdict {
	f.log.Error("call function", "plugin", "azure-functions", "error", err)
	return plugin.ExitMessage(http.StatusInternalServerError, "An unexpected error occurred").Because("function-failed")
}

// request is the client's, without what was about its connection, with the function's key.
func (f *filter) request(x *plugin.Exchange) (*http.Request, error) {
	body, err := x.ReadBody(0)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	address := f.url
	if x.Request.Query != "" {
		address += "?" + x.Request.Query
	}
	r, err := http.NewRequestWithContext(x.Context(), x.Request.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the call: %w", err)
	}
	for _, line := range x.Request.Header.Fields() {
		if !function.PerConnection(line.Name) && !strings.EqualFold(line.Name, "Host") {
			r.Header.Add(line.Name, strings.Clone(line.Value))
		}
	}
	for name, value := range map[string]string{"X-Functions-Key": f.key, "X-Functions-Clientid": f.id} {
		r.Header.Del(name) // a client's own would be believed
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r, nil
}
