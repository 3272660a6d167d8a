package adminapi

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/model/schema"
)

// origin is who asks, as the revision remembers it.
func (q *request) origin() config.Origin {
	return config.Origin{
		Actor:   cmp.Or(guard.Name(q.r.Context()), "admin-api"),
		Client:  q.r.UserAgent(),
		Message: q.r.Header.Get("Sekifuda-Reason"),
	}
}

func (q *request) entity(status int, e *config.Entity) error {
	b, err := q.render(e)
	if err != nil {
		return err
	}
	q.json(status, b)
	return nil
}

// render shows an entity, with our own settings when ?sekifuda=true asks for them, and without
// secrets to who may not see them.
func (q *request) render(e *config.Entity) (schema.Body, error) {
	b, err := q.Config.Render(q.r.Context(), e, q.r.URL.Query().Get("sekifuda") == "true")
	if err == nil && !guard.SeesSecrets(q.r.Context()) {
		e.Table.Hide(e.Message, b)
	}
	return b, err
}

// written answers a write once nodes enforce it, or when the wait is over.
func (q *request) written(status int, res *config.Result) error {
	if err := q.enforced(res.Revision.Rev); err != nil {
		return err
	}
	return q.entity(status, &res.Entity)
}

func (q *request) deleted(rev uint64) error {
	if rev > 0 {
		if err := q.enforced(rev); err != nil {
			return err
		}
	}
	q.noContent()
	return nil
}

// enforced holds the answer back: by default until all connected nodes enforce the
// revision, at most WaitAtMost; otherwise as Sekifuda-Wait says.
func (q *request) enforced(rev uint64) error {
	if q.window != nil {
		return nil // there is no revision yet
	}
	if q.ours() {
		q.w.Header().Set("Sekifuda-Revision", strconv.FormatUint(rev, 10))
	}
	w := q.wait
	if !w.asked {
		w = wait{fraction: 1, timeout: q.WaitAtMost}
	}
	if w.timeout <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), w.timeout)
	defer cancel()
	enforcing, connected := q.Waiter.WaitEnforced(ctx, rev, w.fraction)
	q.unheard()
	if w.asked {
		q.w.Header().Set("Sekifuda-Enforced", strconv.Itoa(enforcing)+"/"+strconv.Itoa(connected))
	}
	return nil
}

// unheard names the replicas whose nodes the answer leaves out, if there are any.
func (q *request) unheard() {
	if names := q.Waiter.Unheard(); len(names) > 0 {
		q.w.Header().Set("Sekifuda-Unheard", strings.Join(names, ", "))
	}
}

// ours reports whether the client speaks our words, by any header of them. Only then do
// answers carry our own: to all others they are Kong's to the byte.
func (q *request) ours() bool {
	for name := range q.r.Header {
		if strings.HasPrefix(name, "Sekifuda-") {
			return true
		}
	}
	return false
}

// wait is what Sekifuda-Wait says.
type wait struct {
	asked    bool
	fraction float64
	timeout  time.Duration
}

// maxWait bounds what may be asked for: an answer that is held back keeps a connection.
const maxWait = 10 * time.Minute

// parseWait reads "enforced=100%; timeout=5s".
func parseWait(s string) (wait, error) {
	if s == "" {
		return wait{}, nil
	}
	w := wait{asked: true, fraction: 1, timeout: 5 * time.Second}
	for part := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "enforced":
			p, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
			if err != nil || !(p >= 0 && p <= 100) || !strings.HasSuffix(value, "%") {
				return wait{}, &answered{http.StatusBadRequest, "Sekifuda-Wait: enforced must be a percentage such as 100%"}
			}
			w.fraction = p / 100
		case "timeout":
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 || d > maxWait {
				return wait{}, &answered{http.StatusBadRequest, "Sekifuda-Wait: timeout must be a duration such as 5s, up to 10m"}
			}
			w.timeout = d
		default:
			return wait{}, &answered{http.StatusBadRequest, "Sekifuda-Wait: expected enforced=PERCENT%; timeout=DURATION"}
		}
	}
	return w, nil
}
