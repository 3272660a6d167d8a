// Package sqlite keeps configuration in one file: the embedded store, for a gateway without
// a database server.
//
// It knows SQLite; what a batch may write is judged by store/plan, and what both databases
// are asked alike is in store/tables. One process owns the file at a time. Enter at Open.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"syscall"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/bell"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
	"github.com/sekifuda/sekifuda/migrations"
)

// readers bounds connections that read: an answer is a few rows from memory, so more would
// only wait for the processor.
const readers = 8

// Store is a store in one file.
type Store struct {
	*tables.Reader
	write   *sql.DB // one connection
	read    *sql.DB
	lock    *os.File
	once    sync.Once
	commits *combiner.Combiner
	bell    *bell.Bell
}

var _ store.Store = (*Store)(nil)

// Open opens the file at path, makes it when it does not exist, and brings its tables up to
// date. A file that another process has open is an error that says so.
func Open(ctx context.Context, path string) (*Store, error) {
	lock, err := own(path)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock}
	if err := s.open(ctx, path); err != nil {
		_ = s.release()
		return nil, fmt.Errorf("open embedded store %s: %w", path, err)
	}
	s.Reader = tables.NewReader(source{s.read})
	head, err := s.Head(ctx)
	if err != nil {
		_ = s.release()
		return nil, fmt.Errorf("open embedded store %s: %w", path, err)
	}
	s.bell = bell.New(nil) // every commit is this process's own
	s.bell.Ring(head.Rev)
	s.commits = combiner.New(s.writeBatch)
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) error {
	var err error
	// A commit is on disk before it is answered: synchronous FULL flushes the log each time.
	if s.write, err = connect(path, "_txlock=immediate"); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if err := migrations.SQLite(ctx, s.write); err != nil {
		return err
	}
	if s.read, err = connect(path, "mode=ro"); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	return s.read.PingContext(ctx)
}

func connect(path, option string) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	dsn.RawQuery = option + "&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)"
	return sql.Open("sqlite", dsn.String())
}

// own locks the file for this process. The kernel lets go of the lock when the process ends,
// however it ends.
func own(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open embedded store: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("the embedded store %s is in use by another process; stop it, or choose another data folder", path)
	}
	return nil, fmt.Errorf("lock embedded store %s: %w", path, err)
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	return s.commits.Commit(ctx, c)
}

// Wait implements store.Store.
func (s *Store) Wait(ctx context.Context, after uint64) (uint64, error) {
	return s.bell.Wait(ctx, after)
}

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Head(ctx)
	return err
}

// Secret implements store.Store. Without fresh a secret that does not exist is ErrNotFound.
func (s *Store) Secret(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	return s.Reader.Secret(ctx, name, func(ctx context.Context) error {
		if len(fresh) == 0 {
			return nil
		}
		_, err := s.write.ExecContext(ctx, `INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING`, name, fresh)
		return err
	})
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.commits.Close()
	s.bell.Close()
	s.Stop()
	var err error
	s.once.Do(func() { err = s.release() })
	return err
}

func (s *Store) release() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
