package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

func backup(t *testing.T, recipients ...age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, recipients, &controlv1.BackupHead{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		part := &controlv1.ExportResponse{}
		if i == 0 {
			part.Head = &controlv1.BackupHead{Epoch: "e", Rev: 7}
		}
		for k := range 20 {
			part.Entities = append(part.Entities, &controlv1.Entity{Kind: "services", Id: fmt.Sprint(i, k), Rev: 3})
		}
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads one backup.
func readAll(r io.Reader, keys []age.Identity) (*controlv1.BackupHead, []*controlv1.Entity, error) {
	s := &State{}
	if err := s.Add(r, keys); err != nil {
		return nil, nil, err
	}
	all, err := s.Entities()
	return s.Head, all, err
}

func TestBackupsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"plain": backup(t), "encrypted": backup(t, key.Recipient())} {
		head, all, err := readAll(bytes.NewReader(file), []age.Identity{key})
		if err != nil || !proto.Equal(head, &controlv1.BackupHead{Epoch: "e", Rev: 7, Base: 7}) || len(all) != 60 || all[59].GetId() != "2 9" {
			t.Errorf("%s: %v, %d entities, %v", name, head, len(all), err)
		}
		if got := bytes.Contains(file, []byte("services")); got && name == "encrypted" {
			t.Error("an encrypted backup shows what is in it")
		}
	}
}

// TestDamageIsFound cuts a backup off at every byte and turns a bit of every byte.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"plain": backup(t), "encrypted": backup(t, key.Recipient())} {
		for i := range file {
			if _, _, err := readAll(bytes.NewReader(file[:i]), []age.Identity{key}); err == nil {
				t.Fatalf("%s: cut off at byte %d of %d it is read all the same", name, i, len(file))
			}
			wrong := bytes.Clone(file)
			wrong[i] ^= 4
			head, all, err := readAll(bytes.NewReader(wrong), []age.Identity{key})
			// gzip's header has bytes that mean nothing (RFC 1952: time, system).
			if err == nil && (len(all) != 60 || head.GetRev() != 7) {
				t.Fatalf("%s: with a bit of byte %d turned it is read as something else", name, i)
			}
		}
	}
}

func TestFilesThatAreNoBackup(t *testing.T) {
	t.Parallel()
	key, _ := age.GenerateX25519Identity()
	other, _ := age.GenerateX25519Identity()
	file := backup(t, key.Recipient())
	for want, c := range map[string]struct {
		file []byte
		keys []age.Identity
	}{
		"this is no backup of Sekifuda": {[]byte("-- PostgreSQL database dump\n"), nil},
		"cut off":                       {[]byte("sekifuda-backup 1 plain"), nil},
		"use a newer seki":              {[]byte("sekifuda-backup 3 plain\n"), nil},
		"damaged":                       {[]byte("sekifuda-backup 1 zip\n"), nil},
		"is encrypted: name its key":    {file, nil},
		"is encrypted for another key":  {file, []age.Identity{other}},
		"the backup is damaged: failed": {file[:len(file)-1], []age.Identity{key}},
	} {
		if _, _, err := readAll(bytes.NewReader(c.file), c.keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%.30q) = %v, want %q", c.file, err, want)
		}
	}
	if _, _, err := readAll(bytes.NewReader(file[:60]), []age.Identity{key}); err == nil || errors.Is(err, ErrKey) {
		t.Errorf("a short file says %v", err)
	}
}
