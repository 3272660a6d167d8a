// Package services gives tests a private PostgreSQL and Redis: real servers on loopback in
// temp folders, started when first asked for, one of each for a test binary, and gone with
// it however it ends.
//
// It does not know what the tests keep in them. With SEKI_TEST_DATABASE_URL or
// SEKI_TEST_REDIS_URL it uses that server instead, in a fresh database there.
// Enter at Postgres, Redis, NewPostgres and NewRedis.
package services

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
)

// find looks a server's program up in PATH and in the folders that match patterns, the
// last of them first (the highest version).
func find(program string, patterns ...string) (string, bool) {
	for _, pattern := range patterns {
		found, _ := filepath.Glob(filepath.Join(pattern, program)) // the patterns are ours and sound
		sort.Sort(sort.Reverse(sort.StringSlice(found)))
		for _, path := range found {
			if _, err := exec.LookPath(path); err == nil {
				return path, true
			}
		}
	}
	path, err := exec.LookPath(program)
	return path, err == nil
}

// freePort names a port of loopback that nobody listens on now. Somebody may by the time it
// is used, so whoever uses it tries again with another.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// word is a random name that needs no quotes anywhere.
func word() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// folder makes a server's folder, owned by the user the server runs as.
func folder(name string, as account) (string, error) {
	dir, err := os.MkdirTemp("", "seki-test-"+name+"-")
	if err != nil {
		return "", err
	}
	if err := as.own(dir); err != nil {
		_ = os.RemoveAll(dir) // empty, and the first error says more
		return "", err
	}
	return dir, nil
}

// must ends the test when a service cannot be had: without it nothing was tested.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("test service: %v", err)
	}
}
