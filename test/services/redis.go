//go:build unix

package services

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const redisVariable = "SEKI_TEST_REDIS_URL"

var errNoRedis = errors.New("Redis is not installed: run test/setup.sh as root, or install the package redis-server, or set " + redisVariable)

// redisDatabases is how many databases our own server has: one for each call of Redis.
const redisDatabases = 4096

// RedisServer is a Redis of a test's own, to stop and kill.
type RedisServer struct {
	// URL is of its database 0.
	URL    string
	server *server
	reaper *reaper
}

// NewRedis starts a Redis that only t uses and that ends with it. It keeps nothing on disk.
func NewRedis(t testing.TB) *RedisServer {
	t.Helper()
	r, err := startRedis()
	must(t, err)
	t.Cleanup(func() {
		if err := r.reaper.end(); err != nil {
			t.Errorf("end redis: %v", err)
		}
	})
	return r
}

// Redis returns the URL of an empty database that only t uses. The server is shared by the
// test binary.
func Redis(t testing.TB) string {
	t.Helper()
	if base := os.Getenv(redisVariable); base != "" {
		return claimRedis(t, base)
	}
	shared, err := sharedRedis()
	must(t, err)
	n := nextRedis.Add(1)
	if n >= redisDatabases {
		t.Fatalf("test service: redis: more than %d databases were asked for", redisDatabases)
	}
	return withDatabase(t, shared.URL, int(n))
}

var nextRedis atomic.Int64

// The shared server has no one to end it but its reaper, as PostgreSQL's.
var sharedRedis = sync.OnceValues(startRedis)

// Stop shuts the server down in order.
func (r *RedisServer) Stop(t testing.TB) {
	t.Helper()
	must(t, r.server.signal(syscall.SIGTERM))
}

// Kill ends the server as a crash of it would.
func (r *RedisServer) Kill(t testing.TB) {
	t.Helper()
	must(t, r.server.signal(syscall.SIGKILL))
}

// Start starts the server again, empty and on the same port.
func (r *RedisServer) Start(t testing.TB) {
	t.Helper()
	must(t, r.server.start())
}

func startRedis() (*RedisServer, error) {
	program, ok := find("redis-server")
	if !ok {
		return nil, errNoRedis
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := folder("redis", as)
	if err != nil {
		return nil, fmt.Errorf("make redis's folder: %w", err)
	}
	reaper, err := startReaper(dir)
	if err != nil {
		return nil, err
	}
	const ports = 5 // as for PostgreSQL
	for range ports {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		r := &RedisServer{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port), reaper: reaper}
		r.server = &server{as: as, dir: dir, log: filepath.Join(dir, "log"), ping: pingRedis(r.URL)}
		r.server.args = []string{program, "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no",
			"--dir", dir, "--databases", fmt.Sprint(redisDatabases)}
		if err = r.server.start(); err == nil {
			return r, nil
		}
	}
	return nil, errors.Join(err, reaper.end())
}

func pingRedis(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		opts, err := redis.ParseURL(url)
		if err != nil {
			return err
		}
		opts.MaxRetries = -1
		client := redis.NewClient(opts)
		defer client.Close()
		return client.Ping(ctx).Err()
	}
}

func withDatabase(t testing.TB, base string, n int) string {
	t.Helper()
	u, err := url.Parse(base)
	must(t, err)
	u.Path = fmt.Sprintf("/%d", n)
	return u.String()
}

// claims live in database 0 of a given server, so that test binaries that share it do not
// share a database. One that was killed leaves its claim for claimTime.
const (
	claimPrefix = "seki:test:claim:"
	claimTime   = time.Hour
)

// claimRedis takes an empty database of a server that is not ours. It never touches one
// with something in it.
func claimRedis(t testing.TB, base string) string {
	t.Helper()
	ctx := context.Background()
	claims := openRedis(t, withDatabase(t, base, 0))
	for n := 1; ; n++ {
		url := withDatabase(t, base, n)
		client := openRedis(t, url)
		size, err := client.DBSize(ctx).Result()
		if err != nil {
			t.Fatalf("test service: no empty database is left at %s: %v", redisVariable, err)
		}
		if size > 0 {
			continue
		}
		key := fmt.Sprint(claimPrefix, n)
		ours, err := claims.SetNX(ctx, key, os.Getpid(), claimTime).Result()
		must(t, err)
		if !ours {
			continue
		}
		t.Cleanup(func() {
			if err := errors.Join(client.FlushDB(ctx).Err(), claims.Del(ctx, key).Err()); err != nil {
				t.Errorf("give redis database back: %v", err)
			}
		})
		return url
	}
}

func openRedis(t testing.TB, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	must(t, err)
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() }) // a client that is closed twice says so; no harm
	return client
}
