// Package guard stands before the Admin API: it asks who somebody is, lets them do what their
// role allows, and has what they did noted.
//
// It knows tokens, roles, and which calls change something; it does not know what the calls
// do. Enter at New; HTTP, Unary and Stream stand before servers, Name says who asks, and a Noted
// store writes what was done in the transaction that does it.
package guard

import (
	"context"
	"log/slog"
	"time"
)

// Role is what somebody may do: all that the roles below it may, and more.
type Role int

// The roles, ascending.
const (
	Nobody   Role = iota
	Viewer        // reads
	Editor        // changes configuration
	Releaser      // moves groups of nodes
	Admin         // decides who may join, and turns keys over
)

var roles = map[string]Role{"viewer": Viewer, "editor": Editor, "releaser": Releaser, "admin": Admin}

func (r Role) String() string {
	for name, is := range roles {
		if is == r {
			return name
		}
	}
	return "nobody"
}

// Event is something that was done, or refused.
type Event struct {
	Who      string
	From     string // address
	What     string // "PATCH /services/x", "ConfigService.Commit"
	Result   string // "200", "OK", "PermissionDenied", Committed
	Why      string // in the words of who asked
	Revision uint64 // that it made; 0: none
}

// Log takes note of events.
type Log interface {
	Note(ctx context.Context, e Event) error
}

// Options are what a guard is made of.
type Options struct {
	Tokens *Tokens // nil, and no OIDC: everybody may do everything
	OIDC   *OIDC
	Log    Log // nil: nothing is noted
	// Secret names parts of paths behind which a secret may stand: "key-auths".
	Secret map[string]bool
	Errors *slog.Logger
}

// Guard is the guard. It may be used concurrently.
type Guard struct{ Options }

// New returns a guard.
func New(o Options) *Guard { return &Guard{Options: o} }

// noteTimeout bounds how long an answer waits for the log of what was done.
const noteTimeout = 5 * time.Second

// note has an event noted, whether or not its caller still waits.
func (g *Guard) note(ctx context.Context, e Event) {
	if g.Log == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err := g.Log.Note(ctx, e); err != nil && g.Errors != nil {
		g.Errors.ErrorContext(ctx, "not in the audit log", "who", e.Who, "from", e.From, "what", e.What, "result", e.Result, "error", err)
	}
}
