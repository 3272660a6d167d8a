package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/movable"
	"github.com/sekifuda/sekifuda/controlplane/store/postgres"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
)

// openStore opens PostgreSQL, or the embedded store in the data folder, with its tables up
// to date. A PostgreSQL that does not answer is waited for, and said. An embedded store can move.
func openStore(ctx context.Context, log *slog.Logger, url, dataDir string) (store.Store, error) {
	if url != "" {
		return openPostgres(ctx, log, url)
	}
	s, err := sqlite.Open(ctx, filepath.Join(dataDir, "config.db"))
	if err != nil {
		return nil, err
	}
	return movable.New(s), nil
}

// databaseName is what clients call the database of a store.
func databaseName(s store.Store) string {
	if m, ok := s.(*movable.Store); ok {
		s = m.Database()
	}
	if _, ok := s.(*postgres.Store); ok {
		return "postgres"
	}
	return "sqlite"
}

// migrate brings a database's tables up to date, for people who want that by hand: the
// control plane does it at its start, too.
func migrate(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS]")
	url := f.String("database-url", "", "PostgreSQL URL; empty: the embedded store in the data folder")
	dataDir := f.String("data-dir", "./.seki", "data folder of the embedded store")
	if err := f.parse(); err != nil {
		return err
	}
	if err := followMove(url, *dataDir); err != nil {
		return err
	}
	st, err := openOnce(ctx, *url, *dataDir)
	if err != nil {
		return err
	}
	defer st.Close()
	head, err := st.Head(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "tables are up to date; head revision %d\n", head.Rev)
	return nil
}

func openOnce(ctx context.Context, url, dataDir string) (store.Store, error) {
	if url == "" {
		return sqlite.Open(ctx, filepath.Join(dataDir, "config.db"))
	}
	return postgres.Open(ctx, url, postgres.Options{})
}

// sayEvery is how often a control plane that waits for its database says so.
const sayEvery = 5 * time.Second

// openPostgres opens PostgreSQL and waits for it when it is not there yet: in a stack that
// starts all at once it may come last.
func openPostgres(ctx context.Context, log *slog.Logger, url string) (store.Store, error) {
	var said time.Time
	for {
		s, err := postgres.Open(ctx, url, postgres.Options{})
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return nil, err
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			log.Warn("waiting for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
