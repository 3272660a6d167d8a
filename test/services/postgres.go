//go:build unix

package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	databaseVariable = "SEKI_TEST_DATABASE_URL"
	superuser        = "seki"
)

var errNoPostgres = errors.New("PostgreSQL's server is not installed: run test/setup.sh as root, or install the package postgresql, or set " + databaseVariable)

// PostgresServer is a PostgreSQL of a test's own, to stop and kill.
type PostgresServer struct {
	// URL is of its database postgres, with all rights.
	URL    string
	server *server
	reaper *reaper
}

// Option changes a server before it starts.
type Option func(*settings)

type settings struct{ postgres []string }

// WithoutFsync makes PostgreSQL fast and forgetful, for tests that measure or kill nothing.
func WithoutFsync() Option {
	return func(s *settings) {
		s.postgres = append(s.postgres, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
}

// NewPostgres starts a PostgreSQL that only t uses and that ends with it. It is always a
// server of its own: tests may break it.
func NewPostgres(t testing.TB, opts ...Option) *PostgresServer {
	t.Helper()
	p, err := startPostgres(fresh, opts...)
	must(t, err)
	return p.endsWith(t)
}

// Standby starts a copy of the server that follows it, asynchronously, by the address of a relay
// to it, until it is promoted.
func (p *PostgresServer) Standby(t testing.TB, by string) *PostgresServer {
	t.Helper()
	s, err := startPostgres(func(bin, data string) *exec.Cmd {
		return exec.Command(filepath.Join(bin, "pg_basebackup"), "-d", "postgres://"+superuser+"@"+by+"/postgres?sslmode=disable",
			"-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	})
	must(t, err)
	return s.endsWith(t)
}

// Promote makes a standby a server of its own, with what has reached it.
func (p *PostgresServer) Promote(t testing.TB) {
	t.Helper()
	must(t, execute(p.URL, `SELECT pg_promote()`))
}

func (p *PostgresServer) endsWith(t testing.TB) *PostgresServer {
	t.Cleanup(func() {
		if err := p.reaper.end(); err != nil {
			t.Errorf("end postgres: %v", err)
		}
	})
	return p
}

// Postgres returns the URL of a fresh database that is dropped when t ends. The server is
// shared by the test binary.
func Postgres(t testing.TB) string {
	t.Helper()
	shared, err := sharedPostgres()
	must(t, err)
	base := shared.URL
	u, err := url.Parse(base)
	must(t, err)
	name := "seki_test_" + word()
	must(t, execute(base, `CREATE DATABASE `+name+` TEMPLATE template0`))
	t.Cleanup(func() {
		if err := execute(base, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// The shared server has no one to end it but its reaper, which sees the pipe close; the
// variable also keeps the pipe from the garbage collector.
var sharedPostgres = sync.OnceValues(func() (*PostgresServer, error) {
	if u := os.Getenv(databaseVariable); u != "" {
		return &PostgresServer{URL: u}, nil
	}
	return startPostgres(fresh)
})

func execute(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the test database: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// Stop shuts the server down in order: clients are cut, nothing is lost.
func (p *PostgresServer) Stop(t testing.TB) {
	t.Helper()
	must(t, p.server.signal(syscall.SIGINT))
}

// Abort ends the server at once, as pg_ctl stop -m immediate does: the next start recovers.
func (p *PostgresServer) Abort(t testing.TB) {
	t.Helper()
	must(t, p.server.signal(syscall.SIGQUIT))
}

// Kill ends the server as a crash of it would: what was not flushed is lost.
func (p *PostgresServer) Kill(t testing.TB) {
	t.Helper()
	must(t, p.server.signal(syscall.SIGKILL))
}

// Start starts the server again, on the same port, and returns when it answers.
func (p *PostgresServer) Start(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := p.server.start()
		// Children of a killed server need a moment to notice and leave the memory.
		if err != nil && strings.Contains(err.Error(), "shared memory") && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		must(t, err)
		return
	}
}

// fresh is the command that makes the data folder of an empty server; bin is where PostgreSQL's
// programs are.
func fresh(bin, data string) *exec.Cmd {
	return exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
}

func startPostgres(data func(bin, data string) *exec.Cmd, opts ...Option) (*PostgresServer, error) {
	initdb, ok1 := find("initdb", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
	postgres, ok2 := find("postgres", filepath.Dir(initdb))
	if !ok1 || !ok2 {
		return nil, errNoPostgres
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := folder("postgres", as)
	if err != nil {
		return nil, fmt.Errorf("make postgres's folder: %w", err)
	}
	r, err := startReaper(dir)
	if err != nil {
		return nil, err
	}
	p, err := bootPostgres(as, dir, postgres, data(filepath.Dir(initdb), filepath.Join(dir, "data")), opts)
	if err != nil {
		return nil, errors.Join(err, r.end())
	}
	p.reaper = r
	return p, nil
}

func bootPostgres(as account, dir, postgres string, prepare *exec.Cmd, opts []Option) (*PostgresServer, error) {
	prepare.Dir, prepare.SysProcAttr = dir, as.attributes()
	if out, err := prepare.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(prepare.Path), err, bytes.TrimSpace(out))
	}
	var with settings
	for _, o := range opts {
		o(&with)
	}
	const ports = 5 // another process may take the free port first; five times is no accident
	var err error
	for range ports {
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		p := &PostgresServer{URL: fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", superuser, port)}
		p.server = &server{as: as, dir: dir, log: filepath.Join(dir, "log"), ping: pingPostgres(p.URL)}
		p.server.args = append([]string{postgres, "-D", filepath.Join(dir, "data"), "-p", fmt.Sprint(port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=64MB"}, with.postgres...)
		if err = p.server.start(); err == nil {
			return p, nil
		}
	}
	return nil, err
}

func pingPostgres(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
}

// PostgresPath is the folder of PostgreSQL's programs (pg_dump, psql), for a test's PATH.
func PostgresPath() string {
	program, ok := find("pg_dump", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
	if !ok {
		return ""
	}
	return filepath.Dir(program)
}
