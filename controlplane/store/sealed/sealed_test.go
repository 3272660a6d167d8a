package sealed_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sealed"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/controlplane/store/storetest"
)

// open opens a store in a file, under which everything is secret.
func open(t *testing.T, path string) (store.Store, store.Store) {
	t.Helper()
	inner, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	key, err := keyring.NewKey(bytes.Repeat([]byte{7}, keyring.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), inner, []keyring.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	return sealed.New(inner, sealed.Options{
		Sealer: keys, Pepper: []byte("pepper"),
		Kind: func(string) bool { return true }, Index: func(_, index string) bool { return index == "key" },
	}), inner
}

// TestContract holds a sealed store to what every store is held to. Its largest object is
// smaller than the store's by what sealing adds.
func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s, _ := open(t, filepath.Join(t.TempDir(), "store.db"))
		return s
	}, "bounds")
}

// TestNothingInTheFile writes a secret, changes it, deletes it, and looks for it in the files.
func TestNothingInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, inner := open(t, filepath.Join(dir, "store.db"))
	id := "00000000-0000-4000-8000-000000000001"
	put := func(body, key string) store.Commit {
		return store.Commit{Ops: []store.Op{{Object: store.Object{Kind: "k", ID: id, Body: []byte(body)}, Keys: []store.Key{{Index: "key", Value: key}}}}}
	}
	for _, c := range []store.Commit{put("a s3cret body", "s3cret"), put("another s3cret", "s3cret"), {Ops: []store.Op{{Object: store.Object{Kind: "k", ID: id}}}}, put("a s3cret body", "s3cret")} {
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := s.Find(t.Context(), "k", store.Key{Index: "key", Value: "s3cret"}); err != nil || string(o.Body) != "a s3cret body" {
		t.Errorf("Find = %v, %v", o, err)
	}
	other := put("x", "s3cret")
	other.Ops[0].ID = "00000000-0000-4000-8000-000000000002"
	_, err := s.Commit(t.Context(), other)
	var unique *store.UniqueError
	if !errors.As(err, &unique) || unique.Key.Value != "s3cret" {
		t.Errorf("Commit of a taken key = %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if raw, err := os.ReadFile(f); err != nil || bytes.Contains(raw, []byte("s3cret")) {
			t.Errorf("%s: holds the secret, %v", f, err)
		}
	}
	// A body that is moved to another object does not open there.
	o, err := inner.Get(t.Context(), "k", id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inner.Commit(t.Context(), store.Commit{Ops: []store.Op{{Object: store.Object{Kind: "k", ID: other.Ops[0].ID, Body: o.Body}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "k", other.Ops[0].ID); err == nil {
		t.Error("a sealed body opens as another object's")
	}
}

// TestOlderRows reads what was written before anything was sealed.
func TestOlderRows(t *testing.T) {
	t.Parallel()
	s, inner := open(t, filepath.Join(t.TempDir(), "store.db"))
	id := "00000000-0000-4000-8000-000000000001"
	op := store.Op{Object: store.Object{Kind: "k", ID: id, Body: []byte("\x0aold")}, Keys: []store.Key{{Index: "key", Value: "v"}}}
	if _, err := inner.Commit(t.Context(), store.Commit{Ops: []store.Op{op}}); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func() (*store.Object, error){
		"Get":  func() (*store.Object, error) { return s.Get(t.Context(), "k", id) },
		"Find": func() (*store.Object, error) { return s.Find(t.Context(), "k", store.Key{Index: "key", Value: "v"}) },
	} {
		if o, err := get(); err != nil || string(o.Body) != "\x0aold" {
			t.Errorf("%s = %v, %v", name, o, err)
		}
	}
}
