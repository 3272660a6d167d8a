package adminapi

import (
	"context"
	"net"
	"net/http"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Blocks is what is refused ahead of configuration.
type Blocks interface {
	List() []*controlv1.Block
	// Block begins to refuse; a lifetime of 0 is the default. from is the address of who asks.
	Block(ctx context.Context, kind, target string, lifetime time.Duration, by, reason, from string, force bool) (*controlv1.Block, error)
	Unblock(ctx context.Context, kind, target string) error
	// Enforced waits until the connected nodes refuse what is blocked now, or ctx ends.
	Enforced(ctx context.Context)
}

const blockPath = ownPaths + "blocks"

func (a *API) registerBlocks() {
	if a.Blocks == nil {
		return
	}
	a.handle(blockPath, only("GET", (*request).listBlocks))
	a.handle(blockPath+"/{kind}/{target}", map[string]handler{"PUT": (*request).block, "DELETE": (*request).unblock})
}

func (q *request) listBlocks() error {
	data := []any{}
	for _, b := range q.Blocks.List() {
		data = append(data, blockBody(b))
	}
	q.json(http.StatusOK, map[string]any{"data": data, "next": nil})
	return nil
}

func blockBody(b *controlv1.Block) map[string]any {
	return map[string]any{
		"kind": b.GetKind(), "target": b.GetTarget(), "name": b.GetName(), "by": b.GetBy(), "reason": b.GetReason(),
		"created_at": b.GetAt().AsTime().Unix(), "until": b.GetUntil().AsTime().Unix(),
	}
}

// block takes ?for=30m and ?force=true; the reason is in Sekifuda-Reason, as everywhere.
func (q *request) block() error {
	args := q.r.URL.Query()
	var lifetime time.Duration
	if text := args.Get("for"); text != "" {
		var err error
		if lifetime, err = time.ParseDuration(text); err != nil || lifetime <= 0 {
			return &answered{http.StatusBadRequest, "for: say a duration such as 30m"}
		}
	}
	host, _, _ := net.SplitHostPort(q.r.RemoteAddr) // "": nobody's
	by := q.origin()
	b, err := q.Blocks.Block(q.r.Context(), q.wild[0], q.wild[1], lifetime, by.Actor, by.Message, host, args.Get("force") == "true")
	if err != nil {
		return err
	}
	q.blocked()
	q.json(http.StatusOK, blockBody(b))
	return nil
}

func (q *request) unblock() error {
	if err := q.Blocks.Unblock(q.r.Context(), q.wild[0], q.wild[1]); err != nil {
		return err
	}
	q.blocked()
	q.noContent()
	return nil
}

// blocked holds the answer back as long as that to a write.
func (q *request) blocked() {
	ctx, cancel := context.WithTimeout(q.r.Context(), q.WaitAtMost)
	defer cancel()
	q.Blocks.Enforced(ctx)
}
