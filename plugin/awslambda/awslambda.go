// Package awslambda answers requests with what a function of AWS Lambda says.
//
// It knows Lambda's interface, what functions are told and how they answer; package function
// makes the call. Enter at Definition.
package awslambda

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/function"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles how the function is called. A config without a function is taken, as by Kong
// 3.9.1, and fails when it is asked; the region may be the gate's own to know.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	client, err := function.NewClient(function.Options{
		Timeout: function.Milliseconds(c.Timeout, 60000), Keepalive: function.Milliseconds(c.Keepalive, 60000), Proxy: c.GetProxyUrl(),
	})
	if err != nil {
		return nil, fmt.Errorf("config.proxy_url: %w", err)
	}
	f := &filter{Config: c, log: h.Logger(), client: client, now: time.Now, region: c.GetAwsRegion()}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if f.region == "" {
			f.region = os.Getenv(name)
		}
	}
	f.purse = newPurse(c, f.region, client)
	return f, nil
}

type filter struct {
	*Config
	log    *slog.Logger
	client *http.Client
	now    func() time.Time
	region string
	purse  *purse
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest calls the function and answers with what it says.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	answer, body, err := f.invoke(x)
	if err != nil {
		f.log.Error("call function", "plugin", "aws-lambda", "function", f.GetFunctionName(), "error", err)
		return plugin.Deny(http.StatusInternalServerError, "").Because("function-failed")
	}
	header, status := answer.Header, answer.StatusCode
	if f.GetIsProxyIntegration() {
		said, err := readProxy(body)
		if err != nil {
			f.log.Error("read the function's answer", "plugin", "aws-lambda", "function", f.GetFunctionName(), "error", err)
			return badGateway(err)
		}
		for name, values := range said.header {
			header[name] = values
		}
		return function.Answer(x, said.status, header, said.body)
	}
	if f.UnhandledStatus != nil && header.Get("X-Amz-Function-Error") == "Unhandled" {
		status = int(f.GetUnhandledStatus())
	}
	if f.GetEmptyArraysMode() != "correct" {
		body = legacyArrays(header.Get("Content-Type"), body)
	}
	return function.Answer(x, status, header, body)
}

// invoke calls the function. What Lambda itself refuses is an error.
func (f *filter) invoke(x *plugin.Exchange) (*http.Response, []byte, error) {
	switch {
	case f.GetFunctionName() == "":
		return nil, nil, errors.New("no function_name specified")
	case f.region == "":
		return nil, nil, errors.New("no region specified")
	}
	told, err := f.payload(x)
	if err != nil {
		return nil, nil, err
	}
	k, err := f.purse.keys(x.Context())
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(x.Context(), http.MethodPost, f.address(), bytes.NewReader(told))
	if err != nil {
		return nil, nil, fmt.Errorf("make the call: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Invocation-Type", orElse(f.GetInvocationType(), "RequestResponse"))
	r.Header.Set("X-Amz-Log-Type", orElse(f.GetLogType(), "Tail"))
	sign(r, told, k, f.region, "lambda", f.now())
	answer, body, err := function.Call(f.client, r)
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return nil, nil, fmt.Errorf("lambda answers %d: %.200s", answer.StatusCode, body)
	}
	return answer, body, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// address is the function's, with its version.
func (f *filter) address() string {
	scheme, usual := "https", "443"
	if f.GetDisableHttps() {
		scheme, usual = "http", "80"
	}
	host := orElse(f.GetHost(), "lambda."+f.region+".amazonaws.com")
	port := "443"
	if f.Port != nil {
		port = strconv.FormatInt(f.GetPort(), 10)
	}
	if port != usual {
		host = net.JoinHostPort(host, port)
	}
	address := scheme + "://" + host + "/2015-03-31/functions/" + escape(f.GetFunctionName()) + "/invocations"
	if f.GetQualifier() != "" {
		address += "?Qualifier=" + url.QueryEscape(f.GetQualifier())
	}
	return address
}
