// Package postgres keeps a store in PostgreSQL. Many processes may use one database: each
// gathers its callers' commits into one transaction at a time, and the lock of the head row
// orders the transactions of all.
//
// It does not know how a commit is judged (store/plan) or what the reading questions are
// (store/tables). Every table is in the schema that the connection's search_path names.
// Enter at Open.
package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/bell"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
	"github.com/sekifuda/sekifuda/migrations"
)

// Options are what may be left as it is.
type Options struct {
	// MaxConns bounds the connections of the pool, one of which listens outside of it.
	// 0: what the URL says (pool_max_conns), else 16; readers rarely need more, and
	// PostgreSQL's usual 100 are shared by all processes.
	MaxConns int
	// WriteTimeout is how long a batch of commits may take, retries and reconnects included,
	// with a second more for each MiB. When its answer was lost, finding out may take as long
	// again. 0: 5 s, which outlives a restart of PostgreSQL.
	WriteTimeout time.Duration
}

const (
	defaultConns   = 16
	defaultTimeout = 5 * time.Second
	connectTimeout = 3 * time.Second // when the URL says none
	pollEvery      = 250 * time.Millisecond
)

// Store is a store in PostgreSQL.
type Store struct {
	*tables.Reader
	pool     *pgxpool.Pool
	commits  *combiner.Combiner
	bell     *bell.Bell
	timeout  time.Duration
	instance uint64 // drawn at Open; with turns it names this process's transactions
	turns    uint64 // of the combiner, which calls one write at a time
}

var _ store.Store = (*Store)(nil)

// Open connects to the database at url and brings its tables up to date. It fails when the
// database does not answer; a store that is open outlives outages.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	config, err := configure(url, opts)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	if err := migrate(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	src := source{pool}
	s := &Store{
		Reader: tables.NewReader(src), pool: pool,
		timeout: opts.WriteTimeout, instance: random(),
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	s.commits = combiner.New(s.write)
	s.bell = bell.New(&bell.Poll{Head: s.headRev, Every: pollEvery, Hints: s.listen})
	return s, nil
}

func configure(url string, opts Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	switch {
	case opts.MaxConns > 0:
		config.MaxConns = int32(min(opts.MaxConns, 1000))
	case !strings.Contains(url, "pool_max_conns"):
		config.MaxConns = defaultConns
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "sekifuda"
	}
	return config, nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	if err := pool.Ping(ctx); err != nil {
		return source{pool}.Fault("connect to postgres", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	return migrations.Postgres(ctx, db)
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	return s.commits.Commit(ctx, c)
}

// Wait implements store.Store. During an outage it goes on waiting.
func (s *Store) Wait(ctx context.Context, after uint64) (uint64, error) {
	return s.bell.Wait(ctx, after)
}

func (s *Store) headRev(ctx context.Context) (uint64, error) {
	h, err := s.Head(ctx)
	return h.Rev, err
}

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Head(ctx)
	return err
}

// Now implements store.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var at time.Time
	if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at); err != nil {
		return time.Time{}, source{s.pool}.Fault("read the clock", err)
	}
	return at, nil
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, was string) error {
	if _, err := s.pool.Exec(ctx, `UPDATE head SET epoch = $1 WHERE epoch = $2`, uuid.NewString(), was); err != nil {
		return source{s.pool}.Fault("renew epoch", err)
	}
	return nil
}

// Secret implements store.Store. Without fresh a secret that does not exist is ErrNotFound.
func (s *Store) Secret(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	return s.Reader.Secret(ctx, name, func(ctx context.Context) error {
		if len(fresh) == 0 {
			return nil
		}
		_, err := s.pool.Exec(ctx, `INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, fresh)
		return err
	})
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.commits.Close()
	s.bell.Close()
	s.Stop()
	s.pool.Close()
	return nil
}
