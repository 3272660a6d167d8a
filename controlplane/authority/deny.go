package authority

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
)

const deniedKind = "denied"

// Denial says that a node may not connect, renew or enrol.
type Denial struct {
	At     time.Time
	By     string
	Reason string
}

func (d Denial) refusal(node string) error {
	why := ""
	if d.Reason != "" {
		why = ": " + d.Reason
	}
	return status.Errorf(codes.PermissionDenied, "node %s: was revoked at %s by %s%s", node, d.At.UTC().Format(time.RFC3339), d.By, why)
}

func (a *Authority) readDenied(ctx context.Context) (map[string]Denial, error) {
	records, err := a.Store.Records(ctx, deniedKind)
	if err != nil {
		return nil, fmt.Errorf("read who is denied: %w", err)
	}
	all := make(map[string]Denial, len(records))
	for _, r := range records {
		var d Denial
		if err := json.Unmarshal(r.Body, &d); err != nil {
			return nil, fmt.Errorf("read denial of %s: %w", r.ID, err)
		}
		all[r.ID] = d
	}
	return all, nil
}

func (a *Authority) denial(node string) (Denial, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	d, ok := a.denied[node]
	return d, ok
}

// Denied is who is denied, by node id.
func (a *Authority) Denied() map[string]Denial {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.denied // replaced, never changed
}

// Deny cuts a node's connections, here at once and on other replicas within a second, and
// refuses it from now on. It returns how many were cut here. A node that never enrolled can
// be denied too.
func (a *Authority) Deny(ctx context.Context, node, by, reason string) (int, error) {
	if !word.MatchString(node) {
		return 0, &fault.Error{Kind: fault.SchemaViolation, Message: errWord("node id", node).Error()}
	}
	body, err := json.Marshal(Denial{At: a.Now(), By: by, Reason: reason})
	if err != nil {
		return 0, err
	}
	err = retry(func() error {
		r, err := a.record(ctx, deniedKind, node)
		if err != nil || r.Version != 0 {
			return err
		}
		r.Body = body
		return a.Store.Write(ctx, []store.Record{r})
	})
	if err != nil {
		return 0, fmt.Errorf("deny %s: %w", node, err)
	}
	n := a.lines.count(node)
	return n, a.refresh(ctx)
}

// Allow takes a denial back. Its certificate is good again if it has not run out.
func (a *Authority) Allow(ctx context.Context, node string) error {
	err := retry(func() error {
		r, err := a.record(ctx, deniedKind, node)
		if err != nil {
			return err
		}
		if r.Version == 0 {
			return &fault.Error{Kind: fault.NotFound, Message: fmt.Sprintf("node %q is not revoked", node)}
		}
		r.Body = nil
		return a.Store.Write(ctx, []store.Record{r})
	})
	if err != nil {
		return err
	}
	return a.refresh(ctx)
}
