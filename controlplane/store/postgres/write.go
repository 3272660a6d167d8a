package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// Between two tries to reach the database: short enough to be back soon after a restart,
// long enough not to hammer one that is starting.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 500 * time.Millisecond
)

// write is the combiner's: it writes the batch in one transaction, and tries again through
// lost connections until the store's timeout. A commit whose answer was lost is looked up,
// never sent twice.
func (s *Store) write(batch []store.Commit) ([]plan.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout+allowance(batch))
	defer cancel()
	s.turns++
	pause := firstRetry
	for try := uint64(0); ; try++ {
		t := &turn{store: s, txn: txnName(s.instance, s.turns, try)}
		outcomes, err := t.run(ctx, batch)
		if err == nil {
			if n := len(t.plan.Revisions); n > 0 {
				s.bell.Ring(t.plan.Revisions[n-1].Rev)
			}
			return outcomes, nil
		}
		if errors.Is(err, errUnknown) {
			return nil, fmt.Errorf("write batch: %w: %w", store.ErrUnavailable, err)
		}
		if constraint(err) {
			return nil, fmt.Errorf("%w: %w", combiner.ErrConstraint, err)
		}
		if !unavailable(err) {
			return nil, fmt.Errorf("write batch: %w", err)
		}
		if !sleep(ctx, pause) {
			return nil, fmt.Errorf("write batch: %w: %w", store.ErrUnavailable, err)
		}
		pause = min(2*pause, lastRetry)
	}
}

// allowance is the time that a batch gets for its size, a second for each MiB: a slow disk
// under a large import is no outage.
func allowance(batch []store.Commit) time.Duration {
	total := 0
	for i := range batch {
		size, _ := plan.Check(&batch[i]) // the combiner let it in: there is no error
		total += size
	}
	return time.Duration(total>>20) * time.Second
}

// sleep waits for d and reports whether there is time left.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// turn is one try to write a batch.
type turn struct {
	store *Store
	txn   []byte // the transaction's own name, in its revision rows
	plan  *plan.Plan
}

func (t *turn) run(ctx context.Context, batch []store.Commit) ([]plan.Outcome, error) {
	t.plan = &plan.Plan{}
	conn, err := t.store.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	// A connection with an open transaction is closed by the pool, which rolls it back.
	defer conn.Release()
	begun, err := begin(ctx, conn, plan.Needs(batch))
	if err != nil {
		return nil, err
	}
	outcomes := make([]plan.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = begun.ledger.Apply(&batch[i])
	}
	t.plan = begun.ledger.Plan()
	if t.plan.Empty() {
		_, err := conn.Exec(ctx, "rollback")
		return outcomes, err
	}
	t.plan.Notes = tables.Chain(t.plan.Notes, begun.seq, begun.hash)
	err = commit(ctx, conn, t.plan, t.txn)
	if err == nil || answered(err) {
		return outcomes, err
	}
	hangUp(conn.Conn())
	// Finding out has a time of its own: the time to write may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.timeout)
	defer cancel()
	return outcomes, t.resolve(ctx, err)
}

// hangUp ends a connection without waiting for a polite answer.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx) // the socket is closed either way
}

// errUnknown ends all tries: what may have been written must not be written again.
var errUnknown = errors.New("the commit's outcome is not known")

// resolve finds out whether a commit whose answer was lost with cause has happened: nil if
// it has. It waits for the head's lock, which the lost transaction holds to its end.
func (t *turn) resolve(ctx context.Context, cause error) error {
	pause := firstRetry
	for {
		committed, err := t.lookUp(ctx)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return cause
		case !unavailable(err):
			return fmt.Errorf("look up a commit whose answer was lost: %w", err)
		case !sleep(ctx, pause):
			return fmt.Errorf("%w: %w", errUnknown, errors.Join(cause, err))
		}
		pause = min(2*pause, lastRetry)
	}
}

func (t *turn) lookUp(ctx context.Context) (committed bool, err error) {
	err = pgx.BeginFunc(ctx, t.store.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT rev FROM head FOR UPDATE`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM revision WHERE rev = $1 AND txn = $2)`,
			int64(t.plan.Revisions[0].Rev), t.txn).Scan(&committed)
	})
	return committed, err
}

// txnName names a transaction among those of all processes.
func txnName(instance, turn, try uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, instance)
	b = binary.AppendUvarint(b, turn)
	return binary.AppendUvarint(b, try)
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// batched gathers statements for one round trip.
type batched struct {
	pgx.Batch
	rows []func(pgx.Rows) error // one for each statement
}

// ask adds a query and what to do with each of its rows.
func (b *batched) ask(take func(pgx.Rows) error, query string, args ...any) {
	b.Queue(query, args...)
	b.rows = append(b.rows, take)
}

// do adds a statement without an answer.
func (b *batched) do(query string, args ...any) { b.ask(nil, query, args...) }

func (b *batched) send(ctx context.Context, conn *pgxpool.Conn) (err error) {
	results := conn.SendBatch(ctx, &b.Batch)
	defer func() {
		if closeErr := results.Close(); err == nil {
			err = closeErr // else it is the same error again
		}
	}()
	for _, take := range b.rows {
		if take == nil {
			if _, err := results.Exec(); err != nil {
				return err
			}
			continue
		}
		if err := drain(results, take); err != nil {
			return err
		}
	}
	return nil
}

func drain(results pgx.BatchResults, take func(pgx.Rows) error) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
