// Package migrations holds the numbered SQL that makes and changes the tables of the two
// databases, and runs it.
//
// It does not know what the tables are for (package controlplane/store does) nor how a
// database is opened. A file is never edited once it was released; the next change is the
// next number, and it only adds (an older binary beside a newer one keeps working).
// Enter at Postgres and SQLite.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// table is where goose notes which numbers were run.
const table = "migration"

// Another process that migrates is tried again every second for five minutes: an index on
// a large history takes minutes, a lost lock would mean two writers of the same tables.
const (
	lockEverySeconds = 1
	lockTries        = 300
)

// Postgres brings the schema that db's search_path names up to date. Processes that call it
// at the same time wait for each other by an advisory lock of the session.
func Postgres(ctx context.Context, db *sql.DB) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockEverySeconds, lockTries))
	if err != nil {
		return fmt.Errorf("make migration lock: %w", err)
	}
	return up(ctx, goose.DialectPostgres, db, "postgres", goose.WithSessionLocker(locker))
}

// SQLite brings the file behind db up to date. The caller holds the file's lock, so no
// other process can be inside.
func SQLite(ctx context.Context, db *sql.DB) error {
	return up(ctx, goose.DialectSQLite3, db, "sqlite")
}

func up(ctx context.Context, dialect goose.Dialect, db *sql.DB, folder string, opts ...goose.ProviderOption) error {
	sub, err := fs.Sub(files, folder)
	if err != nil {
		return fmt.Errorf("open migrations %s: %w", folder, err)
	}
	opts = append(opts, goose.WithTableName(table), goose.WithDisableGlobalRegistry(true))
	provider, err := goose.NewProvider(dialect, db, sub, opts...)
	if err != nil {
		return fmt.Errorf("read migrations %s: %w", folder, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", folder, err)
	}
	return nil
}
