package adminapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
)

// WindowRule has the run of a client, which is known by the beginning of its User-Agent, be
// one change window: it is published once the client was quiet for so long. The zero value
// has nobody's.
type WindowRule struct {
	Agent string
	Quiet time.Duration
}

// Elsewhere knows which replica keeps a window, and has it answer.
type Elsewhere interface {
	// Find tells which other replica keeps a window; "" when this one does, or none.
	Find(ctx context.Context, token string) (replica string, err error)
	// Claim makes this replica the keeper, unless another one is. release ends that.
	Claim(ctx context.Context, token string, run bool) (replica string, release func(), err error)
	// Forward has that replica answer.
	Forward(w http.ResponseWriter, r *http.Request, replica string) error
	// Everywhere has all others that keep windows answer, and returns the bodies of those that do.
	Everywhere(r *http.Request) ([][]byte, error)
	// Forget drops a window that was lost with its replica, and reports whether it was.
	Forget(ctx context.Context, token string) (bool, error)
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

// enter has the call read and write through its window, if it belongs to one; elsewhere is the
// replica that keeps the window, if this one does not. leave ends it.
func (q *request) enter(method string) (leave func(), elsewhere string, err error) {
	q.Config = q.API.Config
	token, quiet := q.r.Header.Get(windowHeader), time.Duration(0)
	if rule := q.WindowRule; token == "" && rule.Agent != "" && strings.HasPrefix(q.r.UserAgent(), rule.Agent) {
		host, _, _ := net.SplitHostPort(q.r.RemoteAddr)
		token, quiet = q.r.UserAgent()+" @"+host, rule.Quiet
	}
	nothing := func() {}
	if q.Windows == nil {
		return nothing, "", nil
	}
	if named, ok := q.namesWindow(); ok {
		elsewhere, err = q.find(named)
		if method == http.MethodDelete && fault.Is(err, fault.Conflict) { // lost: to be dropped
			err = nil
		}
		return nothing, elsewhere, err
	}
	if token == "" || len(q.segs) == 0 || besideConfig[q.segs[0]] {
		return nothing, "", nil
	}
	write := method != http.MethodGet && method != http.MethodOptions
	release := nothing
	if !q.Windows.Has(token) && q.Elsewhere != nil && config.IsToken(token) {
		if elsewhere, release, err = q.claim(token, quiet > 0, write); err != nil || elsewhere != "" {
			return nothing, elsewhere, err
		}
	}
	w, err := q.Windows.Enter(token, quiet, write, q.origin(), release)
	if err != nil || w == nil {
		return nothing, "", err
	}
	q.Config, q.window = w.Config, w
	return func() { q.Windows.Leave(w, write && q.r.Context().Err() != nil) }, "", nil
}

// namesWindow returns the token in the path of a window itself.
func (q *request) namesWindow() (string, bool) {
	if len(q.segs) < 3 || "/"+q.segs[0]+"/"+q.segs[1] != windowPath {
		return "", false
	}
	return q.segs[2], true
}

// find tells which other replica keeps a window. A call that was sent on goes no further.
func (q *request) find(token string) (string, error) {
	if q.Elsewhere == nil || q.Windows.Has(token) || q.r.Header.Get(Forwarded) != "" {
		return "", nil
	}
	return q.Elsewhere.Find(q.r.Context(), token)
}

// claim finds the keeper of a window; a write makes this replica the keeper if there is none.
func (q *request) claim(token string, run, write bool) (elsewhere string, release func(), err error) {
	if !write {
		elsewhere, err = q.find(token)
		return elsewhere, func() {}, err
	}
	elsewhere, release, err = q.Elsewhere.Claim(q.r.Context(), token, run)
	if elsewhere != "" && q.r.Header.Get(Forwarded) != "" {
		err = &fault.Error{Kind: fault.Unavailable, Message: "the window moved to another control plane meanwhile; send the call again"}
		elsewhere = ""
	}
	return elsewhere, release, err
}

// Forwarded is the header of a call that another replica sent on: it goes no further.
const Forwarded = "X-Sekifuda-Forwarded"

func (q *request) listWindows() error {
	data := []any{}
	for _, w := range q.Windows.List() {
		data = append(data, windowBody(w))
	}
	if q.Elsewhere != nil && q.r.Header.Get(Forwarded) == "" {
		more, err := q.windowsElsewhere()
		if err != nil {
			return err
		}
		data = append(data, more...)
		q.unheard()
	}
	q.json(http.StatusOK, map[string]any{"data": data, "next": nil})
	return nil
}

// windowsElsewhere asks the other replicas for the windows that they keep.
func (q *request) windowsElsewhere() (data []any, err error) {
	bodies, err := q.Elsewhere.Everywhere(q.r)
	if err != nil {
		return nil, err
	}
	for _, raw := range bodies {
		var list struct{ Data []any }
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		data = append(data, list.Data...)
	}
	return data, nil
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
	there := q.Windows.Drop(q.wild[0])
	if !there && q.Elsewhere != nil {
		lost, err := q.Elsewhere.Forget(q.r.Context(), q.wild[0])
		if err != nil {
			return err
		}
		there = lost
	}
	if !there {
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
