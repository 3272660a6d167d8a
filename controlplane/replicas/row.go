package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// kind is the record kind of the rows.
const kind = "replicas"

// row is what a replica says of itself in the database.
type row struct {
	id      string
	version uint64

	Address string
	Plain   bool `json:",omitempty"`
	Version string
	At      time.Time // of its last beat, by the database's clock
}

func (r *Replicas) rows(ctx context.Context) ([]row, error) {
	records, err := r.Store.Records(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("read replicas: %w", err)
	}
	all := make([]row, 0, len(records))
	for _, c := range records {
		is := row{id: c.ID, version: c.Version}
		if err := json.Unmarshal(c.Body, &is); err != nil {
			return nil, fmt.Errorf("read replica %s: %w", c.ID, err)
		}
		all = append(all, is)
	}
	return all, nil
}

// renew writes this replica's row. One that is not where it was left was swept away by another,
// while this process stood still, or an answer was lost: the next beat begins from what is there.
func (r *Replicas) renew(ctx context.Context, now time.Time) error {
	body, err := json.Marshal(row{Address: r.Address, Plain: r.Plain, Version: r.Options.Version, At: now})
	if err != nil {
		return err
	}
	err = r.Store.Write(ctx, []store.Record{{Kind: kind, ID: r.id, Version: r.version, Body: body}})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		r.version = conflict.Have
	}
	if err != nil {
		return fmt.Errorf("write replica: %w", err)
	}
	r.version++
	return nil
}

// remove takes this replica's row away, of whichever version: the last beat may have been cut off
// when it was written already.
func (r *Replicas) remove(ctx context.Context) error {
	for {
		err := r.Store.Write(ctx, []store.Record{{Kind: kind, ID: r.id, Version: r.version}})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || conflict.Have == 0 {
			return err
		}
		r.version = conflict.Have
	}
}

// sweep takes rows away that nobody renews any more. Others may be about to do the same.
func (r *Replicas) sweep(ctx context.Context, rows []row, now time.Time) error {
	for _, is := range rows {
		if now.Sub(is.At) <= sweepAfter || is.id == r.id {
			continue
		}
		err := r.Store.Write(ctx, []store.Record{{Kind: kind, ID: is.id, Version: is.version}})
		var conflict *store.ConflictError
		if err != nil && !errors.As(err, &conflict) {
			return fmt.Errorf("sweep replica %s: %w", is.id, err)
		}
	}
	return nil
}
