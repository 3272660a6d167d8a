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

// render shows an entity, with our own settings when ?sekifuda=true asks for them.
func (q *request) render(e *config.Entity) (schema.Body, error) {
	return q.Config.Render(q.r.Context(), e, q.r.URL.Query().Get("sekifuda") == "true")
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
	fraction, timeout, asked, err := parseWait(q.r.Header.Get("Sekifuda-Wait"))
	if err != nil {
		return err
	}
	if !asked {
		fraction, timeout = 1, q.WaitAtMost
	}
	if timeout <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), timeout)
	defer cancel()
	enforcing, connected := q.Waiter.WaitEnforced(ctx, rev, fraction)
	if asked {
		q.w.Header().Set("Sekifuda-Enforced", strconv.Itoa(enforcing)+"/"+strconv.Itoa(connected))
	}
	return nil
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

// parseWait reads "enforced=100%; timeout=5s".
func parseWait(s string) (fraction float64, timeout time.Duration, asked bool, err error) {
	if s == "" {
		return 0, 0, false, nil
	}
	fraction, timeout = 1, 5*time.Second
	for _, part := range strings.Split(s, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "enforced":
			p, perr := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
			if perr != nil || p < 0 || p > 100 || !strings.HasSuffix(value, "%") {
				return 0, 0, false, &answered{http.StatusBadRequest, "Sekifuda-Wait: enforced must be a percentage such as 100%"}
			}
			fraction = p / 100
		case "timeout":
			d, derr := time.ParseDuration(value)
			if derr != nil || d < 0 {
				return 0, 0, false, &answered{http.StatusBadRequest, "Sekifuda-Wait: timeout must be a duration such as 5s"}
			}
			timeout = d
		default:
			return 0, 0, false, &answered{http.StatusBadRequest, "Sekifuda-Wait: expected enforced=PERCENT%; timeout=DURATION"}
		}
	}
	return fraction, timeout, true, nil
}
