package adminapi

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/config"
)

// WindowRule has the run of a client, which is known by the beginning of its User-Agent, be
// one change window: it is published once the client was quiet for so long. The zero value
// has nobody's.
type WindowRule struct {
	Agent string
	Quiet time.Duration
}

const windowHeader = "Sekifuda-Window"

// windowPath is where windows are shown and published.
const windowPath = ownPaths + "windows"

func (a *API) registerWindows() {
	if a.Windows == nil {
		return
	}
	a.handle(windowPath, only("GET", (*request).listWindows))
	a.handle(windowPath+"/{token}", map[string]handler{"GET": (*request).showWindow, "DELETE": (*request).dropWindow})
	a.handle(windowPath+"/{token}/publish", only("POST", (*request).publishWindow))
}

// besideConfig are the first segments of paths whose calls change no entities.
var besideConfig = map[string]bool{"sekifuda": true, "schemas": true, "debug": true, "cache": true, "proxy-cache": true, "metrics": true, "status": true}

// enter has the call read and write through its window, if it belongs to one. leave ends it.
func (q *request) enter(method string) (leave func(), err error) {
	q.Config = q.API.Config
	token, quiet := q.r.Header.Get(windowHeader), time.Duration(0)
	if rule := q.WindowRule; token == "" && rule.Agent != "" && strings.HasPrefix(q.r.UserAgent(), rule.Agent) {
		host, _, _ := net.SplitHostPort(q.r.RemoteAddr)
		token, quiet = q.r.UserAgent()+" @"+host, rule.Quiet
	}
	if q.Windows == nil || token == "" || len(q.segs) == 0 || besideConfig[q.segs[0]] {
		return func() {}, nil
	}
	write := method != http.MethodGet && method != http.MethodOptions
	w, err := q.Windows.Enter(token, quiet, write, q.origin())
	if err != nil || w == nil {
		return func() {}, err
	}
	q.Config, q.window = w.Config, w
	return func() { q.Windows.Leave(w, write && q.r.Context().Err() != nil) }, nil
}

func (q *request) listWindows() error {
	data := []any{}
	for _, w := range q.Windows.List() {
		data = append(data, windowBody(w))
	}
	q.json(http.StatusOK, map[string]any{"data": data, "next": nil})
	return nil
}

func windowBody(w *config.Window) map[string]any {
	return map[string]any{"token": w.Token, "entities": w.Len(), "created_at": w.Since.Unix(), "quiet_seconds": w.Quiet.Seconds()}
}

var errNoWindow = &answered{http.StatusNotFound, "there is no window with this token"}

func (q *request) showWindow() error {
	for _, w := range q.Windows.List() {
		if w.Token == q.wild[0] {
			q.json(http.StatusOK, windowBody(w))
			return nil
		}
	}
	return errNoWindow
}

func (q *request) dropWindow() error {
	if !q.Windows.Drop(q.wild[0]) {
		return errNoWindow
	}
	q.noContent()
	return nil
}

func (q *request) publishWindow() error {
	p, err := q.Windows.Publish(q.r.Context(), q.wild[0], q.origin())
	if err != nil {
		return err
	}
	if err := q.enforced(p.Revision.Rev); err != nil {
		return err
	}
	q.json(http.StatusOK, map[string]any{"token": q.wild[0], "revision": p.Revision.Rev, "entities": p.Entities})
	return nil
}
