package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the file's engine

	"github.com/sekifuda/sekifuda/plugin"
)

// sweepEvery is how often what has expired is forgotten. It is not found before, either.
const sweepEvery = time.Minute

// local is a store in a file of this gate, which is made when a record is first asked for.
type local struct {
	path string
	now  func() time.Time

	mu sync.Mutex // guards db
	db *sql.DB    // nil: not needed yet
}

var _ plugin.Records = (*local)(nil)

func newLocal(o Options) (*local, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &local{path: o.Path, now: o.Now}, nil
}

// schema holds a row for each record; expires is in Unix milliseconds, 0: never.
const schema = `CREATE TABLE IF NOT EXISTS record (
	address TEXT PRIMARY KEY,
	value   BLOB NOT NULL,
	expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_expires ON record (expires) WHERE expires > 0;`

// open returns the store, made when there is none.
func (l *local) open(ctx context.Context) (*sql.DB, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db != nil {
		return l.db, nil
	}
	dsn := "file::memory:"
	if l.path != "" {
		// Made here and not by SQLite, for its mode: who is logged in is inside.
		file, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the records: %w", err)
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("open the records: %w", err)
		}
		dsn = "file:" + (&url.URL{Path: l.path}).EscapedPath() +
			"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the records: %w", err)
	}
	db.SetMaxOpenConns(1) // one writer; and memory is a connection's own
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open the records: %w", err), db.Close())
	}
	l.db = db
	return db, nil
}

// Get implements plugin.Records.
func (l *local) Get(ctx context.Context, kind, key string) ([]byte, error) {
	return l.one(ctx, kind, key, "read", `SELECT value FROM record WHERE address = ?1 AND (expires = 0 OR expires > ?2)`)
}

// Take implements plugin.Records.
func (l *local) Take(ctx context.Context, kind, key string) ([]byte, error) {
	return l.one(ctx, kind, key, "take", `DELETE FROM record WHERE address = ?1 AND (expires = 0 OR expires > ?2) RETURNING value`)
}

func (l *local) one(ctx context.Context, kind, key, act, question string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	var value []byte
	err = db.QueryRowContext(ctx, question, address(kind, key), l.now().UnixMilli()).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s a record of %s: %w", act, kind, err)
	}
	return value, nil
}

// Put implements plugin.Records.
func (l *local) Put(ctx context.Context, kind, key string, value []byte, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := l.open(ctx)
	if err != nil {
		return err
	}
	expires := int64(0)
	if ttl > 0 {
		expires = l.now().Add(ttl).UnixMilli()
	}
	const put = `INSERT INTO record (address, value, expires) VALUES (?, ?, ?)
		ON CONFLICT (address) DO UPDATE SET value = excluded.value, expires = excluded.expires`
	if _, err := db.ExecContext(ctx, put, address(kind, key), value, expires); err != nil {
		return fmt.Errorf("keep a record of %s: %w", kind, err)
	}
	return nil
}

// Run implements Records.
func (l *local) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.close()
		case <-tick.C:
			if err := l.sweep(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// sweep forgets what has expired.
func (l *local) sweep(ctx context.Context) error {
	l.mu.Lock()
	db := l.db
	l.mu.Unlock()
	if db == nil {
		return nil
	}
	if _, err := db.ExecContext(ctx, `DELETE FROM record WHERE expires > 0 AND expires <= ?`, l.now().UnixMilli()); err != nil {
		return fmt.Errorf("forget expired records: %w", err)
	}
	return nil
}

func (l *local) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db == nil {
		return nil
	}
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close the records: %w", err)
	}
	return nil
}
