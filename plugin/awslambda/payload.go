package awslambda

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// object is what a function is told, or a part of it.
type object = payload.Values

// payload is what the function is told of a request.
func (f *filter) payload(x *plugin.Exchange) ([]byte, error) {
	body, err := x.ReadBody(0)
	if errors.Is(err, plugin.ErrBodyTooLarge) && f.skipsLarge() {
		f.log.Error("request body is too large for a function", "plugin", "aws-lambda")
		body, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	var told object
	switch {
	case f.GetAwsgatewayCompatible():
		told = f.gateway(x, body)
	case f.GetForwardRequestBody() || f.GetForwardRequestHeaders() || f.GetForwardRequestMethod() || f.GetForwardRequestUri():
		told = f.forwarded(x, body)
	default:
		told = payload.Arguments(x.Request.Query)
		maps.Copy(told, payload.Members(x.Request.Header.Get("Content-Type"), body))
	}
	raw, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return raw, nil
}

func (f *filter) skipsLarge() bool { return f.SkipLargeBodies == nil || f.GetSkipLargeBodies() }

func (f *filter) packs() bool { return f.Base64EncodeBody == nil || f.GetBase64EncodeBody() }

// rawTypes are those whose bodies are texts.
var rawTypes = map[string]bool{
	"text/plain": true, "text/html": true, "application/xml": true, "text/xml": true, "application/soap+xml": true,
}

// forwarded is Kong's own form, of the parts that are wanted.
func (f *filter) forwarded(x *plugin.Exchange, body []byte) object {
	told := object{}
	if f.GetForwardRequestMethod() {
		told["request_method"] = x.Request.Method
	}
	if f.GetForwardRequestHeaders() {
		told["request_headers"] = headers(x)
	}
	if f.GetForwardRequestUri() {
		uri := x.Request.Path
		if x.Request.Query != "" {
			uri += "?" + x.Request.Query
		}
		told["request_uri"], told["request_uri_args"] = uri, payload.Arguments(x.Request.Query)
	}
	if !f.GetForwardRequestBody() {
		return told
	}
	kind := x.Request.Header.Get("Content-Type")
	told["request_body_args"] = payload.Members(x.Request.Header.Get("Content-Type"), body)
	if x.Request.HasBody {
		told["request_body"] = string(body)
	}
	if payload.KindOf(kind) == payload.Other && !rawTypes[kind] && f.packs() {
		told["request_body"], told["request_body_base64"] = base64.StdEncoding.EncodeToString(body), true
	}
	return told
}

// gateway is the form of Amazon's API Gateway.
func (f *filter) gateway(x *plugin.Exchange, body []byte) object {
	all, many := headers(x), object{}
	for name, value := range all {
		all[name], many[name] = payload.First(value)
	}
	query, manyQuery := payload.Arguments(x.Request.Query), object{}
	for name, value := range query {
		query[name], manyQuery[name] = payload.First(value)
	}
	path := object{}
	for _, name := range x.Captures.Names {
		if value, ok := x.Captures.Lookup(name); ok && name != "" {
			path[name] = value
		}
	}
	text, packed := string(body), false
	if f.packs() && (len(body) > 0 || !x.Request.HasBody) {
		text, packed = base64.StdEncoding.EncodeToString(body), true
	}
	return object{
		"version": "1.0", "resource": resource(x), "path": x.Upstream.Path, "httpMethod": x.Request.Method,
		"headers": all, "multiValueHeaders": many, "pathParameters": path,
		"queryStringParameters": query, "multiValueQueryStringParameters": manyQuery,
		"body": text, "isBase64Encoded": packed, "requestContext": f.about(x, all["user-agent"]),
	}
}

// about is what is told of the request beside itself.
func (f *filter) about(x *plugin.Exchange, agent any) object {
	host := x.Request.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	prefix, _, _ := strings.Cut(host, ".")
	identity := object{"sourceIp": x.Client.String()}
	if agent != nil {
		identity["userAgent"] = agent
	}
	start := x.Times.Start
	if start.IsZero() {
		start = f.now()
	}
	return object{
		"path": x.Upstream.Path, "resourcePath": x.Upstream.Path, "protocol": protocol(x), "httpMethod": x.Request.Method,
		"domainName": host, "domainPrefix": prefix, "identity": identity, "requestId": x.ID,
		"requestTime": start.UTC().Format("02/Jan/2006:15:04:05 +0000"), "requestTimeEpoch": start.UnixNano() / int64(time.Millisecond),
	}
}

func protocol(x *plugin.Exchange) string {
	if x.Request.Major == 2 {
		return "HTTP/2"
	}
	return fmt.Sprintf("HTTP/%d.%d", x.Request.Major, x.Request.Minor)
}

// resource is the path of the route that matched: of several the longest that the request
// begins with, else the first.
func resource(x *plugin.Exchange) any {
	if x.Route == nil {
		return nil
	}
	var route struct{ Paths []string }
	if json.Unmarshal(x.Route.JSON, &route) != nil || len(route.Paths) == 0 {
		return nil
	}
	best := ""
	for _, path := range route.Paths {
		if strings.HasPrefix(x.Request.Path, path) && len(path) > len(best) {
			best = path
		}
	}
	if best == "" {
		best = route.Paths[0]
	}
	return best
}

// headers are the request's, with its host.
func headers(x *plugin.Exchange) object {
	all := payload.Headers(&x.Request.Header)
	if _, there := all["host"]; !there && x.Request.Host != "" {
		all["host"] = x.Request.Host
	}
	return all
}
