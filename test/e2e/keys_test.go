package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/feed"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestKeyRotation moves a database from the key that lies in it to one in a file, and from
// that to another, without losing a secret; the wrong key is refused in a sentence.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	database, dir := services.Postgres(t), t.TempDir()
	args := []string{"--data-dir", dir, "--database-url", database, "--admin-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0",
		"--console-listen", "off", "--status-listen", "off", "--feed-listen", "off"}
	file := filepath.Join(t.TempDir(), "kek")
	start := func(keys ...string) *stack.Process {
		t.Helper()
		if len(keys) == 0 {
			return stack.Start(t, "controlplane", args...)
		}
		if err := os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return stack.Start(t, "controlplane", append(slices.Clone(args), "--kek-file", file)...)
	}
	check := func(p *stack.Process) {
		t.Helper()
		if code, out := call(t, http.MethodGet, p.URLs["admin"]+"/consumers/anna/key-auth", ""); code != http.StatusOK || !strings.Contains(out, `"key":"a-key"`) {
			t.Errorf("the secret is %d %s", code, out)
		}
	}
	rotate := func(p *stack.Process, want string) {
		t.Helper()
		out, code := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" keys rotate --new-data-key")
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("seki keys rotate: exit code %d, %s, want %q", code, out, want)
		}
	}
	first, second := key(t), key(t)
	p := start()
	put(t, p.URLs["admin"]+"/consumers/anna", `{}`)
	if code, out := call(t, http.MethodPost, p.URLs["admin"]+"/consumers/anna/key-auth", `{"key":"a-key"}`); code != http.StatusCreated {
		t.Fatalf("POST: %d %s", code, out)
	}
	p.Stop()
	if raw, err := os.ReadFile(p.Log); err != nil || !strings.Contains(string(raw), "--kek-file keeps it apart") {
		t.Errorf("nothing is said of the key in the database: %s, %v", raw, err)
	}
	p = start(first)
	check(p)
	rotate(p, "1 were wrapped by another one before")
	p.Stop()
	// What lies in the database no longer opens anything.
	damage(t, database, "DELETE FROM secret WHERE name = 'kek'", func() {
		p = start(first)
		check(p)
		p.Stop()
	})
	p = start(second, first)
	check(p)
	rotate(p, "2 were wrapped by another one before")
	p.Stop()
	p = start(second)
	check(p)
	p.Stop()
	if err := os.WriteFile(file, []byte(first+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := stack.Shell(t, nil, stack.Binary(t)+" controlplane "+strings.Join(args, " ")+" --kek-file "+file)
	if code == 0 || !strings.Contains(out, "every control plane of one database needs the same --kek-file") {
		t.Errorf("with the wrong key: exit code %d\n%s", code, out)
	}
}

func key(t *testing.T) string {
	t.Helper()
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// keeps is a node that keeps all it is given.
type keeps struct {
	mu      sync.Mutex
	changes []feed.Change
}

func (k *keeps) Apply(_ context.Context, m feed.Move) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes = append(k.changes, m.Changes...)
	return nil
}

// TestNodesGetNoKeys connects a node that looks at what it is given.
func TestNodesGetNoKeys(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "--feed-listen", "127.0.0.1:0", "--feed-insecure")
	put(t, p.URLs["admin"]+"/consumers/anna", `{}`)
	if code, out := call(t, http.MethodPost, p.URLs["admin"]+"/consumers/anna/key-auth", `{"key":"a-key-of-anna"}`); code != http.StatusCreated {
		t.Fatalf("POST: %d %s", code, out)
	}
	cc, err := feed.Dial(p.Addr("feed"), insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	node := &keeps{}
	c, err := feed.New(feed.Options{Conn: cc, NodeID: "curious", Applier: node})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	defer func() { stop(); <-done }()
	find := func(kind string) *feed.Change {
		node.mu.Lock()
		defer node.mu.Unlock()
		for i := range node.changes {
			if node.changes[i].Kind == kind {
				return &node.changes[i]
			}
		}
		return nil
	}
	stack.Eventually(t, func() error {
		if find("keyauth_credentials") == nil {
			return os.ErrNotExist
		}
		return nil
	})
	pepper, credential := &feedv1.KeyHash{}, &entityv1.KeyauthCredential{}
	for kind, m := range map[string]proto.Message{feedv1.KeyHashKind: pepper, "keyauth_credentials": credential} {
		if e := find(kind); e == nil || proto.Unmarshal(e.Body, m) != nil {
			t.Fatalf("the node was given %v for %s", e, kind)
		}
	}
	if len(pepper.GetPepper()) != 32 || credential.GetKey() != feedv1.HashKey(pepper.GetPepper(), "a-key-of-anna") {
		t.Errorf("the node was given the key %q", credential.GetKey())
	}
}
