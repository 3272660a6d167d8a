package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/postgres"
	"github.com/sekifuda/sekifuda/test/services"
)

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func op(n int, names ...string) store.Op {
	o := store.Op{Object: store.Object{Kind: "services", ID: fmt.Sprint(n), Body: []byte("body")}}
	for _, name := range names {
		o.Keys = append(o.Keys, store.Key{Index: "name", Value: name})
	}
	return o
}

func commit(t testing.TB, s store.Store, ops ...store.Op) store.Revision {
	t.Helper()
	r, err := s.Commit(context.WithoutCancel(t.Context()), store.Commit{Ops: ops})
	if err != nil {
		t.Fatalf("Commit = %v", err)
	}
	return r
}

// gapFree holds the log to one change in every revision up to the head, and returns that.
func gapFree(t testing.TB, s store.Store) uint64 {
	t.Helper()
	last := uint64(0)
	for c, err := range s.Changes(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Rev != last+1 {
			t.Fatalf("change of revision %d follows %d", c.Rev, last)
		}
		last = c.Rev
	}
	if h, err := s.Head(t.Context()); err != nil || h.Rev != last {
		t.Fatalf("Head = %v, %v, changes end at %d", h, err, last)
	}
	return last
}

// TestDatabaseEnforces holds the database itself to keys and references, past the plan.
func TestDatabaseEnforces(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	s := open(t, url, postgres.Options{})
	commit(t, s, op(1, "x"), store.Op{
		Object: store.Object{Kind: "routes", ID: "1", Body: []byte("b")},
		Refs:   []store.Ref{{Field: "service", Kind: "services", ID: "1"}},
	})
	conn := connect(t, url)
	for statement, code := range map[string]string{
		`INSERT INTO object_key (kind, idx, val, id) VALUES ('services', 'name', 'x', '1')`: "23505",
		`INSERT INTO object_key (kind, idx, val, id) VALUES ('services', 'name', 'y', '2')`: "23503",
		`INSERT INTO object_ref VALUES ('routes', '1', 'f', 'services', '9')`:               "23503",
		`DELETE FROM object WHERE kind = 'services'`:                                        "23503",
		`INSERT INTO head VALUES (2, 'x', 0, 0)`:                                            "23514",
	} {
		_, err := conn.Exec(t.Context(), statement)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != code {
			t.Errorf("%s = %v, want %s", statement, err, code)
		}
	}
}

// TestForeignWriter has someone write past the head's lock: the plan cannot know, the
// constraint does, and only the commit that it hits may fail.
func TestForeignWriter(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	s := open(t, url, postgres.Options{})
	commit(t, s, op(1))
	tx, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO object_key (kind, idx, val, id) VALUES ('services', 'name', 'x', '1')`); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 9)
	var all sync.WaitGroup
	for i := range errs {
		all.Add(1)
		go func() {
			defer all.Done()
			name := fmt.Sprint("n", i)
			if i == 4 {
				name = "x"
			}
			_, errs[i] = s.Commit(t.Context(), store.Commit{Ops: []store.Op{op(10+i, name)}})
		}()
	}
	waitForLock(t, url)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for i, err := range errs {
		var taken *store.UniqueError
		if i == 4 && (!errors.As(err, &taken) || taken.ID != "14" || taken.Holder != "1" || taken.Key.Value != "x") {
			t.Errorf("guilty commit = %v, want the key's holder", err)
		}
		if i != 4 && err != nil {
			t.Errorf("innocent commit %d = %v", i, err)
		}
	}
	if head := gapFree(t, s); head != 9 {
		t.Errorf("head = %d, want 9", head)
	}
}

// waitForLock returns when a session waits for the end of another's transaction.
func waitForLock(t *testing.T, url string) {
	t.Helper()
	conn := connect(t, url)
	deadline := time.Now().Add(30 * time.Second)
	for {
		var waiting bool
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event = 'transactionid')`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if waiting {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no session waits for the foreign writer")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestOpenedAtOnce(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Errorf("Open = %v", err)
				return
			}
			commit(t, s, op(i))
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}()
	}
	all.Wait()
	if head := gapFree(t, open(t, url, postgres.Options{})); head != 4 {
		t.Errorf("head = %d, want 4", head)
	}
}

// TestTwoProcesses has two stores on one database, as two replicas are.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	stores := []store.Store{open(t, url, postgres.Options{}), open(t, url, postgres.Options{})}
	const writers, each = 8, 20
	tail := make(chan error, 1)
	go func() {
		at := uint64(0)
		for at < writers*each {
			head, err := stores[0].Wait(t.Context(), at)
			if err != nil {
				tail <- err
				return
			}
			at = head
		}
		tail <- nil
	}()
	var all sync.WaitGroup
	for w := range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range each {
				commit(t, stores[w%2], op(w*each+i))
			}
		}()
	}
	all.Wait()
	if err := <-tail; err != nil {
		t.Errorf("Wait = %v", err)
	}
	if head := gapFree(t, stores[1]); head != writers*each {
		t.Errorf("head = %d, want %d", head, writers*each)
	}
	secret := func(i int) string {
		v, err := stores[i].Secret(t.Context(), "s", fmt.Append(nil, "of ", i))
		if err != nil {
			t.Fatal(err)
		}
		return string(v)
	}
	if a, b := secret(0), secret(1); a != b {
		t.Errorf("secrets = %q and %q, want one", a, b)
	}
}

func TestSearchPath(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA one; CREATE SCHEMA two`); err != nil {
		t.Fatal(err)
	}
	one := open(t, url+"&search_path=one", postgres.Options{})
	two := open(t, url+"&search_path=two", postgres.Options{})
	commit(t, one, op(1))
	if got := gapFree(t, two); got != 0 {
		t.Errorf("head of the other schema = %d, want 0", got)
	}
	var elsewhere int
	err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&elsewhere)
	if err != nil || elsewhere != 0 {
		t.Errorf("%d tables are in public, %v, want none", elsewhere, err)
	}
}

func TestCompacted(t *testing.T) {
	t.Parallel()
	url := services.Postgres(t)
	s := open(t, url, postgres.Options{})
	for n := range 4 {
		commit(t, s, op(n))
	}
	if _, err := connect(t, url).Exec(t.Context(), `UPDATE head SET floor = 2; DELETE FROM change WHERE rev <= 2`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context(), 1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Load below the floor = %v, want ErrCompacted", err)
	}
	for _, err := range s.Changes(t.Context(), 1, 0) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("Changes from below the floor = %v, want ErrCompacted", err)
		}
	}
	_, objects, err := s.Load(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range objects {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("Load at the floor has %d objects, want 2", n)
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	if _, err := postgres.Open(t.Context(), "postgres://%zz", postgres.Options{}); err == nil || !strings.Contains(err.Error(), "database url") {
		t.Errorf("Open of a bad url = %v, want an error about the url", err)
	}
	_, err := postgres.Open(t.Context(), "postgres://seki@127.0.0.1:1/x?sslmode=disable", postgres.Options{})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Open of nothing = %v, want ErrUnavailable", err)
	}
}
