package archive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// file is a backup of one part.
func file(t *testing.T, part *controlv1.ExportResponse) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, nil, part.GetHead())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(part); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

// step puts or, with a dash before them, deletes entities.
func step(rev uint64, ids ...string) *controlv1.BackupStep {
	s := &controlv1.BackupStep{Revision: &controlv1.Revision{Rev: rev}}
	for _, id := range ids {
		if gone, ok := strings.CutPrefix(id, "-"); ok {
			s.Deleted = append(s.Deleted, &controlv1.EntityRef{Kind: "k", IdOrKey: gone})
			continue
		}
		s.Put = append(s.Put, &controlv1.Entity{Kind: "k", Id: id, Rev: rev})
	}
	return s
}

func whole(epoch string, rev uint64, ids ...string) *controlv1.ExportResponse {
	return &controlv1.ExportResponse{Head: &controlv1.BackupHead{Epoch: epoch, Rev: rev, Base: rev}, Entities: step(rev, ids...).GetPut()}
}

func partial(epoch string, base, rev uint64, steps ...*controlv1.BackupStep) *controlv1.ExportResponse {
	return &controlv1.ExportResponse{Head: &controlv1.BackupHead{Epoch: epoch, Rev: rev, Base: base, Partial: true}, Steps: steps}
}

// TestBackupsGoOnFromEachOther adds backups and stops at revisions between.
func TestBackupsGoOnFromEachOther(t *testing.T) {
	t.Parallel()
	list := []*controlv1.ExportResponse{
		whole("e", 5, "a", "b"),
		partial("e", 5, 7, step(6, "c"), step(7, "-a", "b")),
		partial("e", 6, 8, step(7, "-a", "b"), step(8, "a")), // it overlaps
	}
	for until, want := range map[uint64]string{0: "8: a8 b7 c6", 5: "5: a5 b5", 6: "6: a5 b5 c6", 7: "7: b7 c6", 8: "8: a8 b7 c6", 9: "end at revision 8", 4: "begins at revision 5"} {
		s := &State{Until: until}
		if got := told(t, s, list...); !strings.Contains(got, want) {
			t.Errorf("until %d: %s, want %s", until, got, want)
		}
	}
	history := &controlv1.ExportResponse{Head: &controlv1.BackupHead{Epoch: "e", Rev: 3}, Steps: []*controlv1.BackupStep{step(1, "a"), step(2, "b"), step(3, "-a")}}
	for until, want := range map[uint64]string{0: "3: b2", 1: "1: a1", 2: "2: a1 b2"} {
		if got := told(t, &State{Until: until}, history); got != want {
			t.Errorf("history until %d: %s, want %s", until, got, want)
		}
	}
}

// TestBackupsThatDoNotFit says why.
func TestBackupsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for want, list := range map[string][]*controlv1.ExportResponse{
		"only what came after revision 5":                         {partial("e", 5, 6, step(6, "a"))},
		"another installation":                                    {whole("e", 5), partial("f", 5, 6)},
		"a backup is missing: what came after revision 5 up to 6": {whole("e", 5), partial("e", 6, 7)},
	} {
		if got := told(t, &State{}, list...); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// told is a state as text, or why there is none.
func told(t *testing.T, s *State, list ...*controlv1.ExportResponse) string {
	t.Helper()
	for _, part := range list {
		if err := s.Add(file(t, part), nil); err != nil {
			return err.Error()
		}
	}
	all, err := s.Entities()
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprint(s.Head.GetRev(), ":")
	for _, e := range all {
		text += fmt.Sprint(" ", e.GetId(), e.GetRev())
	}
	return text
}
