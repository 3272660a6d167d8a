package services_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/test/services"
)

func query(t *testing.T, url, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var v string
	err = conn.QueryRow(ctx, sql).Scan(&v)
	return v, err
}

func TestPostgresDatabasesAreApart(t *testing.T) {
	t.Parallel()
	a, b := services.Postgres(t), services.Postgres(t)
	nameA, err := query(t, a, `SELECT current_database()::text`)
	if err != nil {
		t.Fatal(err)
	}
	nameB, err := query(t, b, `SELECT current_database()::text`)
	if err != nil {
		t.Fatal(err)
	}
	if nameA == nameB {
		t.Errorf("two calls share the database %s", nameA)
	}
}

func TestPostgresSurvivesKill(t *testing.T) {
	t.Parallel()
	p := services.NewPostgres(t)
	if got, err := query(t, p.URL, `SHOW fsync`); err != nil || got != "on" {
		t.Fatalf("fsync = %q, %v, want on", got, err)
	}
	p.Kill(t)
	if _, err := query(t, p.URL, `SELECT 'up'`); err == nil {
		t.Error("a killed server answers")
	}
	p.Start(t)
	p.Stop(t)
	p.Start(t)
	if got, err := query(t, p.URL, `SELECT 'up'`); err != nil || got != "up" {
		t.Errorf("after restart: %q, %v", got, err)
	}
}

func TestRedisDatabasesAreApart(t *testing.T) {
	t.Parallel()
	first := openRedis(t, services.Redis(t))
	if err := first.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	second := openRedis(t, services.Redis(t))
	if n, err := second.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("DBSize of a fresh database = %d, %v, want 0", n, err)
	}
}

func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	r := services.NewRedis(t)
	client := openRedis(t, r.URL)
	r.Kill(t)
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answers")
	}
	r.Start(t)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after restart: %v", err)
	}
}

func TestRedisOfAnotherServer(t *testing.T) {
	r := services.NewRedis(t)
	t.Setenv("SEKI_TEST_REDIS_URL", r.URL)
	var urls []string
	t.Run("claims", func(t *testing.T) {
		full := openRedis(t, strings.TrimSuffix(r.URL, "/0")+"/1")
		if err := full.Set(t.Context(), "theirs", "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, services.Redis(t), services.Redis(t))
		if !strings.HasSuffix(urls[0], "/2") || !strings.HasSuffix(urls[1], "/3") {
			t.Errorf("claims = %v, want the empty databases 2 and 3", urls)
		}
	})
	if again := services.Redis(t); len(urls) == 2 && again != urls[0] {
		t.Errorf("a claim given back: next is %s, want %s", again, urls[0])
	}
}

func openRedis(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries = -1
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// TestServersEndWithTheirTests kills a test binary that started both servers and sees that
// nothing of them stays.
func TestServersEndWithTheirTests(t *testing.T) {
	t.Parallel()
	if os.Getenv("SEKI_TEST_VICTIM") != "" {
		beVictim(t)
		return
	}
	temp := t.TempDir()
	for dir := temp; dir != os.TempDir() && dir != "/"; dir = dir[:strings.LastIndex(dir, "/")] {
		if err := os.Chmod(dir, 0o755); err != nil { // the servers' user must get in
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersEndWithTheirTests$", "-test.v")
	cmd.Env = append(os.Environ(), "SEKI_TEST_VICTIM=1", "TMPDIR="+temp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		if lines.Text() == "ready" {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(pids) != 2 {
		t.Fatalf("victim named %d servers, want 2", len(pids))
	}
	waitGone(t, temp, pids)
}

func waitGone(t *testing.T, temp string, pids []int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		left, err := os.ReadDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		alive := 0
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				alive++
			}
		}
		if len(left) == 0 && alive == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d servers and %d folders are left", alive, len(left))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func beVictim(t *testing.T) {
	os.Unsetenv("SEKI_TEST_DATABASE_URL")
	os.Unsetenv("SEKI_TEST_REDIS_URL")
	services.Postgres(t)
	services.Redis(t)
	files, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		pid, err := os.ReadFile(os.TempDir() + "/" + f.Name() + "/pid")
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("pid " + string(pid) + "\n")
	}
	os.Stdout.WriteString("ready\n")
	select {} // until killed
}
