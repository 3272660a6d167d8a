package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sekifuda/sekifuda/model/fault"
)

// kinds gives each fault its code in Kong's bodies and its HTTP status.
var kinds = map[fault.Kind]struct{ code, status int }{
	fault.InvalidPrimaryKey:    {1, 400},
	fault.SchemaViolation:      {2, 400},
	fault.PrimaryKeyViolation:  {3, 400},
	fault.ForeignKeyViolation:  {4, 400},
	fault.UniqueViolation:      {5, 409},
	fault.NotFound:             {6, 404},
	fault.InvalidOffset:        {7, 400},
	fault.InvalidSize:          {9, 400},
	fault.InvalidUnique:        {10, 400},
	fault.InvalidOptions:       {11, 400},
	fault.OperationUnsupported: {12, 405},
	fault.ForeignUnresolved:    {13, 400},
	fault.InvalidDeclarative:   {14, 400},
	fault.ReferencedByOthers:   {19, 400},
	fault.Forbidden:            {0, 403},
	fault.Conflict:             {0, 409},
	fault.TooLarge:             {0, 413},
	fault.Unavailable:          {0, 503},
}

// fail answers with the error: a fault in Kong's words, anything else as the 500 that tells
// the client nothing and the log everything.
func (q *request) fail(err error) {
	var a *answered
	if errors.As(err, &a) {
		if a.message == "" {
			q.page(a.status)
			return
		}
		q.message(a.status, a.message)
		return
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		q.Log.Error("admin request", "method", q.r.Method, "path", q.r.URL.Path, "error", err)
		q.message(http.StatusInternalServerError, "An unexpected error occurred")
		return
	}
	k := kinds[f.Kind]
	if k.code == 0 {
		if f.Err != nil {
			q.Log.Warn("admin request", "method", q.r.Method, "path", q.r.URL.Path, "error", f.Err)
		}
		q.message(k.status, f.Message)
		return
	}
	q.json(k.status, faultBody(k.code, f))
}

func faultBody(code int, f *fault.Error) map[string]any {
	name := f.Name
	if name == "" {
		name = string(f.Kind)
	}
	b := map[string]any{"code": code, "name": name, "message": f.Message}
	if f.Fields != nil {
		member := "fields"
		if f.Kind == fault.InvalidOptions {
			member = "options"
		}
		b[member] = f.Fields
	}
	return b
}

func (q *request) json(status int, body any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read "next" with its &
	if err := e.Encode(body); err != nil {
		q.Log.Error("encode answer", "path", q.r.URL.Path, "error", err)
		status = 500
		b.Reset()
		b.WriteString(`{"message":"An unexpected error occurred"}`)
	}
	q.send(status, "application/json; charset=utf-8", bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func (q *request) message(status int, text string) {
	q.json(status, map[string]string{"message": text})
}

// page answers with nginx's own error page, as Kong does where its code is not reached.
func (q *request) page(status int) {
	text := http.StatusText(status)
	if status == http.StatusMethodNotAllowed {
		text = "Not Allowed" // nginx's own words
	}
	title := fmt.Sprintf("%d %s", status, text)
	q.send(status, "text/html; charset=UTF-8", []byte("<html>\r\n<head><title>"+title+
		"</title></head>\r\n<body>\r\n<center><h1>"+title+"</h1></center>\r\n</body>\r\n</html>\r\n"))
}

func (q *request) send(status int, contentType string, raw []byte) {
	q.latency()
	h := q.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(raw) // a client that left does not need its answer
	}
}

func (q *request) noContent() {
	q.latency()
	q.w.WriteHeader(http.StatusNoContent)
}
