package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
)

// A change window is the memory of one replica. Which one it is every replica can read, so that
// calls of the window go there whichever of them is asked. A window whose replica died is lost;
// what its client still sends must not become half of a window elsewhere, so it is refused until
// the client has been silent for a while, or the window is dropped.

// windowKind is the record kind of who keeps which window.
const windowKind = "windows"

// Silence after which a lost window's token may be used again: a run that goes by itself is over
// soon, a token is a client's own word for one piece of work.
const (
	silentRun   = 30 * time.Second
	silentToken = 15 * time.Minute
	noteSilence = time.Second // how exactly the last call is kept
)

const claimTries = 8

// kept is who keeps a window.
type kept struct {
	version uint64
	there   bool

	Replica string
	Run     bool      `json:",omitempty"` // published by itself
	Lost    time.Time `json:",omitzero"`  // when it was last called after its replica was gone
}

func (r *Replicas) kept(ctx context.Context, token string) (kept, error) {
	records, err := r.Store.Records(ctx, windowKind)
	if err != nil {
		return kept{}, windowFault(err)
	}
	for _, c := range records {
		if c.ID == token {
			k := kept{version: c.Version, there: true}
			return k, json.Unmarshal(c.Body, &k)
		}
	}
	return kept{}, nil
}

// keep writes who keeps a window; the version it is of then is k's plus one.
func (r *Replicas) keep(ctx context.Context, token string, k kept) error {
	body, err := json.Marshal(k)
	if err != nil {
		return err
	}
	// It is no change that the call of ctx makes: the audit log of who asks is not to tell of it.
	bound, cancel := context.WithTimeout(context.Background(), beatWithin)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return r.Store.Write(bound, []store.Record{{Kind: windowKind, ID: token, Version: k.version, Body: body}})
}

// windowFault says that the database is away as the use cases do.
func windowFault(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return &fault.Error{Kind: fault.Unavailable, Message: "the database is not available", Err: err}
	}
	return fmt.Errorf("keep window: %w", err)
}

// Find tells which other replica keeps a window, "" when this one does or none.
func (r *Replicas) Find(ctx context.Context, token string) (replica string, err error) {
	k, err := r.kept(ctx, token)
	if err != nil || !k.there || k.Replica == r.id {
		return "", err
	}
	if err := r.lost(ctx, token, k); err != nil || r.peer(k.Replica) == nil {
		return "", err
	}
	return k.Replica, nil
}

// Claim makes this replica the keeper of a window, unless another one is. release ends that; it
// does nothing when the window was claimed anew meanwhile.
func (r *Replicas) Claim(ctx context.Context, token string, run bool) (replica string, release func(), err error) {
	var conflict *store.ConflictError
	for range claimTries {
		k, err := r.kept(ctx, token)
		if err != nil {
			return "", nil, err
		}
		if k.there && k.Replica != r.id {
			if err := r.lost(ctx, token, k); err != nil {
				return "", nil, err
			}
			if r.peer(k.Replica) != nil {
				return k.Replica, nil, nil
			} // else it was lost long ago
		}
		next := kept{version: k.version, Replica: r.id, Run: run}
		switch err := r.keep(ctx, token, next); {
		case err == nil:
			return "", func() { r.release(token, next.version+1) }, nil
		case !errors.As(err, &conflict):
			return "", nil, windowFault(err)
		}
	}
	return "", nil, &fault.Error{Kind: fault.Conflict, Message: "the window is opened by several calls at once; send this one again"}
}

func (r *Replicas) release(token string, version uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), beatWithin)
	defer cancel()
	err := r.Store.Write(ctx, []store.Record{{Kind: windowKind, ID: token, Version: version}})
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		r.Log.WarnContext(ctx, "who kept a change window is still noted; the next one of its token is kept here", "token", token, "error", err)
	}
}

// Forget drops what is noted of a window that was lost with its replica, and reports whether it was.
func (r *Replicas) Forget(ctx context.Context, token string) (bool, error) {
	k, err := r.kept(ctx, token)
	if err != nil || !k.there || k.Replica == r.id || r.peer(k.Replica) != nil {
		return false, err
	}
	err = r.Store.Write(ctx, []store.Record{{Kind: windowKind, ID: token, Version: k.version}})
	if err != nil {
		return false, windowFault(err)
	}
	return true, nil
}

// keepers are the other replicas that keep windows.
func (r *Replicas) keepers(ctx context.Context) (ids []string, err error) {
	records, err := r.Store.Records(ctx, windowKind)
	if err != nil {
		return nil, windowFault(err)
	}
	for _, c := range records {
		var k kept
		if err := json.Unmarshal(c.Body, &k); err != nil {
			return nil, err
		}
		if k.Replica != r.id && r.peer(k.Replica) != nil && !slices.Contains(ids, k.Replica) {
			ids = append(ids, k.Replica)
		}
	}
	return ids, nil
}

// lost is the fault of a window that went with its replica; nil when the replica is there, or was
// lost so long ago that its client cannot mean it any more.
func (r *Replicas) lost(ctx context.Context, token string, k kept) error {
	if r.peer(k.Replica) != nil {
		return nil
	}
	now, err := r.Store.Now(ctx)
	if err != nil {
		return windowFault(err)
	}
	rows, err := r.rows(ctx)
	if err != nil {
		return windowFault(err)
	}
	for _, is := range rows {
		if is.id == k.Replica && now.Sub(is.At) <= leaseFor {
			return &fault.Error{Kind: fault.Unavailable, Message: "the control plane that keeps this window is not reached yet; send the call again"}
		}
	}
	silence := silentToken
	if k.Run {
		silence = silentRun
	}
	if !k.Lost.IsZero() && now.Sub(k.Lost) > silence {
		return nil
	}
	if now.Sub(k.Lost) > noteSilence {
		k.Lost = now
		var conflict *store.ConflictError
		if err := r.keep(ctx, token, k); err != nil && !errors.As(err, &conflict) {
			return windowFault(err)
		}
	}
	return &fault.Error{Kind: fault.Conflict, Message: "the control plane that kept this window is gone, and the window with it: nothing of it is live; drop it and begin anew"}
}

// peer is the replica of that id; nil when it has no lease.
func (r *Replicas) peer(id string) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers[id]
}
