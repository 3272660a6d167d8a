package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
)

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "store.db")
	first := open(t, path)
	_, err := sqlite.Open(t.Context(), path)
	if !errors.Is(err, sqlite.ErrInUse) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second Open = %v, want ErrInUse with the holder's number", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path) // free again, and the tables are there already
}

func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	write(t, s, 1)
	for _, name := range []string{path, path + "-wal", path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), mode)
		}
	}
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "q?x=1.db", "h#.db", "100%.db", "関札.db", "semi;colon&.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		write(t, s, 1)
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: Stat = %v, %v, want the file", name, info, err)
		}
	}
}

func TestStaysAfterReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	write(t, s, 1)
	before, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if after, err := s.Head(t.Context()); err != nil || after != before {
		t.Errorf("Head = %v, %v, want %v", after, err, before)
	}
	if rev, err := s.Wait(t.Context(), 0); err != nil || rev != 1 {
		t.Errorf("Wait = %d, %v, want 1 at once", rev, err)
	}
}

func TestNotADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 300)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal must give the lock back
		if _, err := sqlite.Open(t.Context(), path); err == nil || errors.Is(err, sqlite.ErrInUse) {
			t.Errorf("Open = %v, want that it is no database", err)
		}
	}
}

// TestDatabaseEnforces holds the file itself to keys and references, past the plan.
func TestDatabaseEnforces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	if _, err := s.Commit(t.Context(), store.Commit{Ops: []store.Op{
		{Object: store.Object{Kind: "services", ID: "1", Body: []byte("a")}, Keys: []store.Key{{Index: "name", Value: "x"}}},
		{Object: store.Object{Kind: "routes", ID: "1", Body: []byte("b")}, Refs: []store.Ref{{Field: "service", Kind: "services", ID: "1"}}},
	}}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(ON)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		`INSERT INTO object_key (kind, idx, val, id) VALUES ('services', 'name', x'78', '1')`,
		`INSERT INTO object_key (kind, idx, val, id) VALUES ('services', 'name', x'79', '2')`,
		`INSERT INTO object_ref VALUES ('routes', '1', 'f', 'services', '9')`,
		`DELETE FROM object WHERE kind = 'services'`,
		`INSERT INTO head VALUES (2, 'x', 0, 0)`,
	} {
		if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "constraint") {
			t.Errorf("%s = %v, want a constraint's refusal", statement, err)
		}
	}
}

func TestCompacted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	for n := range 4 {
		write(t, s, n)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE head SET floor = 2; DELETE FROM change WHERE rev <= 2`); err != nil {
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

func write(t testing.TB, s store.Store, n int) {
	t.Helper()
	_, err := s.Commit(context.WithoutCancel(t.Context()), store.Commit{Ops: []store.Op{{
		Object: store.Object{Kind: "services", ID: fmt.Sprint(n), Body: []byte("body")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

const victimVariable = "SEKI_TEST_SQLITE_VICTIM"

// TestSurvivesKill kills a process in the middle of its commits, again and again, and looks
// for every commit that was acknowledged.
func TestSurvivesKill(t *testing.T) {
	t.Parallel()
	if path := os.Getenv(victimVariable); path != "" {
		beVictim(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "store.db")
	acknowledged := map[string]uint64{}
	for round := range 5 {
		killOne(t, path, round, acknowledged)
		s := open(t, path)
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next := uint64(1)
		for c, err := range s.Changes(t.Context(), 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Rev != next {
				t.Fatalf("change of %d, want %d", c.Rev, next)
			}
			next++
		}
		if next != head.Rev+1 {
			t.Fatalf("changes end before %d, the head is %d", next, head.Rev)
		}
		for id, rev := range acknowledged {
			if o, err := s.Get(t.Context(), "services", id); err != nil || o.Rev != rev {
				t.Fatalf("round %d: Get(%s) = %v, %v, want revision %d", round, id, o, err, rev)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killOne lets a process commit, kills it after some acknowledgements, and notes them.
func killOne(t *testing.T, path string, round int, acknowledged map[string]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSurvivesKill$")
	cmd.Env = append(os.Environ(), victimVariable+"="+path, fmt.Sprintf("%s_ROUND=%d", victimVariable, round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var id string
		var rev uint64
		if _, err := fmt.Sscanf(lines.Text(), "ack %s %d", &id, &rev); err != nil {
			continue // a line that the kill cut short, or the test runner's
		}
		if strings.HasSuffix(lines.Text(), ".") {
			acknowledged[id] = rev
		}
		if n == 40+17*round {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the victim ended by itself")
	}
	if len(acknowledged) < 40*(round+1) {
		t.Fatalf("only %d commits were acknowledged", len(acknowledged))
	}
}

func beVictim(t *testing.T, path string) {
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	round := os.Getenv(victimVariable + "_ROUND")
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, w, i)
				r, err := s.Commit(context.Background(), store.Commit{Ops: []store.Op{{
					Object: store.Object{Kind: "services", ID: id, Body: []byte(id)},
				}}})
				if err != nil {
					fmt.Println("error", err)
					os.Exit(3)
				}
				fmt.Printf("ack %s %d .\n", id, r.Rev)
			}
		}()
	}
	select {} // until killed
}
