// Package console is what a browser sees on the console's port: for now one page that shows
// the installation at a glance.
//
// It knows HTML; what it shows is lent to it. Enter at Handler.
package console

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"
)

// Overview is what the page shows.
type Overview struct {
	Version  string
	Uptime   time.Duration
	Database string
	Reached  bool // whether the database answers
	Revision uint64
	Entities []Count
	Nodes    []Node
}

// Count is how many entities of a kind there are.
type Count struct {
	Kind string
	N    int
}

// Node is one node in a line.
type Node struct {
	ID        string
	Group     string
	Address   string
	Connected bool
	Running   uint64
	Target    uint64
	Refused   string // what the node could not compile; "" when nothing
}

// Current reports whether the node runs what it should.
func (n Node) Current() bool { return n.Connected && n.Running == n.Target }

//go:embed page.html
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// Handler serves the page. overview is called for each request.
func Handler(overview func(*http.Request) Overview, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		h.Set("Cache-Control", "no-store")
		if err := page.Execute(w, overview(r)); err != nil {
			log.Debug("write console page", "error", err)
		}
	})
	return mux
}
