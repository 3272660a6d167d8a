// Package sqlite keeps a store in one SQLite file, for a single process that has no
// PostgreSQL. One connection writes, several read; a commit is on disk when it returns.
//
// It does not know how a commit is judged (store/plan) or what the reading questions are
// (store/tables). Enter at Open.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/bell"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
	"github.com/sekifuda/sekifuda/migrations"
)

// maxReaders bounds the reading connections; each has a page cache of its own, and more
// than a few do not make one disk faster.
const maxReaders = 8

// Store is a store in a SQLite file.
type Store struct {
	*tables.Reader
	lock    *os.File
	readers *sql.DB
	writers *sql.DB // of one connection
	commits *combiner.Combiner
	bell    *bell.Bell

	writing sync.Mutex // guards writer, which commits and secrets share
	writer  *writer
	close   func() error
}

var _ store.Store = (*Store)(nil)

// Open opens the file at path, made with its folder if it is not there, and brings its
// tables up to date. While it is open no other process can open it: ErrInUse.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	s := &Store{lock: lock}
	s.close = sync.OnceValue(s.release)
	if err := s.open(ctx, path); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), s.release())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) error {
	// Made here and not by SQLite, for its mode: secrets are inside. The files beside it
	// get the same mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if s.writers, err = sql.Open("sqlite", address(path)); err != nil {
		return err
	}
	s.writers.SetMaxOpenConns(1)
	if err := migrations.SQLite(ctx, s.writers); err != nil {
		return err
	}
	conn, err := s.writers.Conn(ctx)
	if err != nil {
		return err
	}
	s.writer = &writer{conn: conn, statements: map[string]*sql.Stmt{}}
	if s.readers, err = sql.Open("sqlite", address(path)); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(maxReaders)
	s.readers.SetMaxIdleConns(maxReaders)
	s.Reader = tables.NewReader(newSource(s.readers))
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	// Every commit is this process's own and rings: there is nothing to poll for.
	s.bell = bell.New(nil)
	s.bell.Ring(head.Rev)
	s.commits = combiner.New(s.write)
	return nil
}

// address is the driver's name for the file. The write-ahead log is flushed at every commit
// (synchronous FULL), and cut back when a long reader made it grow.
func address(path string) string {
	pragmas := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "journal_size_limit(67108864)",
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
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

// Now implements store.Store: nobody shares this database.
func (s *Store) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, was string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writer.exec(ctx, `UPDATE head SET epoch = ?1 WHERE epoch = ?2`, uuid.NewString(), was); err != nil {
		return source{}.Fault("renew epoch", err)
	}
	return nil
}

// Secret implements store.Store. Without fresh a secret that does not exist is ErrNotFound.
func (s *Store) Secret(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	return s.Reader.Secret(ctx, name, func(ctx context.Context) error {
		if len(fresh) == 0 {
			return nil
		}
		s.writing.Lock()
		defer s.writing.Unlock()
		return s.writer.exec(ctx, `INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING`, name, fresh)
	})
}

// Close implements store.Store.
func (s *Store) Close() error { return s.close() }

// release undoes as much of Open as was done.
func (s *Store) release() error {
	var errs []error
	if s.commits != nil {
		s.commits.Close()
		s.bell.Close()
	}
	if s.Reader != nil {
		s.Stop()
		errs = append(errs, s.readers.Close())
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.writers != nil {
		errs = append(errs, s.writers.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
