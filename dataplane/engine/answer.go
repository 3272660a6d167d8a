package engine

import (
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
)

// verdict answers as a filter decided.
func (e *exchange) verdict(v plugin.Verdict) {
	e.x.Reason, e.proxied, e.kept = v.Reason(), v.IsKept(), v.IsKept()
	if contentType, body, ok := v.Raw(); ok {
		e.raw(v.Status(), contentType, body)
		return
	}
	e.deny(v.Status(), v.Message())
}

// deny answers with Kong's error body, in the form that the client accepts; without Accept it
// is JSON.
func (e *exchange) deny(status int, message string) {
	form := formJSON
	if accept, ok := e.x.Request.Header.Lookup("Accept"); ok {
		form = negotiate(accept)
	}
	if e.x.Request.Major == 2 && isGRPC(&e.x.Request) {
		form = formGRPC
	}
	e.negotiated(status, message, form)
}

// page answers as nginx's error page does: without Accept it looks at the request's own
// type, else it is what Options.ErrorType says.
func (e *exchange) page(status int) {
	form := negotiate(e.eng.opt.ErrorType)
	h := &e.x.Request.Header
	if v, ok := h.Lookup("Accept"); ok {
		form = negotiate(v)
	} else if v, ok := h.Lookup("Content-Type"); ok {
		form = negotiate(v)
	}
	if e.x.Request.Major == 2 && isGRPC(&e.x.Request) {
		form = formGRPC
	}
	e.negotiated(status, "", form)
}

// plainPage answers a head that was refused before nginx would have read Accept. Statuses that
// Kong has no page for are answered with nginx's own.
func (e *exchange) plainPage(status int) {
	switch status {
	case 501, 505:
		e.nginxPage(status)
	case 405:
		e.page(status)
	default:
		e.negotiated(status, "", negotiate(e.eng.opt.ErrorType))
	}
}

func (e *exchange) negotiated(status int, message string, form form) {
	if message == "" {
		message = defaultMessage(status)
	}
	if status == 494 {
		status = 400 // nginx's own number does not leave it
	}
	if form == formGRPC {
		h := &e.x.Response.Header
		h.Set("Grpc-Status", strconv.Itoa(grpcStatus(status)))
		h.Set("Grpc-Message", message)
		e.raw(status, form.contentType(), "")
		return
	}
	body := e.text(func(b []byte) []byte { return e.eng.pageOf(form, b, message, e.x.ID) })
	e.raw(status, form.contentType(), body)
}

// nginxPage answers with nginx's built-in page.
func (e *exchange) nginxPage(status int) {
	title := strconv.Itoa(status) + " " + pageTitle(status)
	contentType := "text/html; charset=UTF-8"
	if status == 301 || status == 302 {
		contentType = "text/html" // nginx adds no charset to these two
	}
	e.raw(status, contentType, "<html>\r\n<head><title>"+title+"</title></head>\r\n<body>\r\n<center><h1>"+
		title+"</h1></center>\r\n</body>\r\n</html>\r\n")
}

// raw answers with a body as it is.
func (e *exchange) raw(status int, contentType, body string) {
	e.look()
	r := &e.x.Response
	r.Status, r.Source, r.Length = status, plugin.FromGate, int64(len(body))
	e.reason = reasonPhrase(status)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if status != 204 && status != 304 {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	e.respond()
	out := []byte(body)
	for _, edit := range r.Rewrites() {
		out = edit(out)
	}
	r.Length = int64(len(out))
	e.bodyless = e.x.Request.Method == "HEAD" || r.Status == 204 || r.Status == 304
	// The client's connection tells the rest: a failed write is its end.
	_ = e.client.start(e, out, true)
}
