package engine

import (
	"strconv"
	"strings"
)

// form is how an error is written.
type form uint8

const (
	formJSON form = iota
	formPlain
	formHTML
	formXML
	formGRPC
	forms
)

func (f form) contentType() string {
	switch f {
	case formPlain:
		return "text/plain; charset=utf-8"
	case formHTML:
		return "text/html; charset=utf-8"
	case formXML:
		return "application/xml; charset=utf-8"
	case formGRPC:
		return "application/grpc"
	}
	return "application/json; charset=utf-8"
}

// append appends the body. The message is not escaped: Kong does not, and clients compare.
func (f form) append(b []byte, message, id string) []byte {
	switch f {
	case formPlain:
		return join(b, message, "\nrequest_id: ", id, "\n")
	case formHTML:
		return join(b, "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n",
			"  </head>\n  <body>\n    <h1>Error</h1>\n    <p>", message, ".</p>\n    <p>request_id: ", id,
			"</p>\n  </body>\n</html>\n")
	case formXML:
		return join(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>", message,
			"</message>\n  <requestid>", id, "</requestid>\n</error>\n")
	}
	return join(b, "{\n  \"message\":\"", message, "\",\n  \"request_id\":\"", id, "\"\n}")
}

func join(b []byte, parts ...string) []byte {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// negotiate chooses the form by the media range with the highest q; of equals the first. Like
// Kong it compares with regard to case.
func negotiate(accept string) form {
	best, top := "", 0.0
	for accept != "" {
		var r string
		r, accept, _ = strings.Cut(accept, ",")
		kind, params, _ := strings.Cut(r, ";")
		if q := quality(params); q > top {
			best, top = strings.TrimSpace(kind), q
		}
	}
	switch best {
	case "text/html":
		return formHTML
	case "text/plain", "text/*":
		return formPlain
	case "application/xml":
		return formXML
	case "application/grpc":
		return formGRPC
	}
	return formJSON
}

func quality(params string) float64 {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			if q, err := strconv.ParseFloat(v, 64); err == nil {
				return q
			}
		}
	}
	return 1
}
