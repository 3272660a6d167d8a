package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"filippo.io/age"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// State is a configuration as backups tell it, one after the other.
type State struct {
	// Until is the last revision that is taken in; 0: all are.
	Until uint64
	// Head is of the last backup; its Rev is the revision that the state is of.
	Head *controlv1.BackupHead

	entities map[string]*controlv1.Entity
}

// Add takes a backup in: a whole one, or one that goes on from where the state is. Nothing is
// taken from one that does not fit; one that is damaged leaves a state that is of no use.
func (s *State) Add(r io.Reader, keys []age.Identity) error {
	a, err := NewReader(r, keys)
	if err != nil {
		return err
	}
	for begun := false; ; begun = true {
		part, err := a.Next()
		if errors.Is(err, io.EOF) {
			if !begun {
				return ErrDamaged
			}
			return nil
		}
		if err != nil {
			return err
		}
		if !begun {
			if err := s.begin(part.GetHead()); err != nil {
				return err
			}
		}
		s.take(part)
	}
}

// begin checks that a backup fits.
func (s *State) begin(h *controlv1.BackupHead) error {
	switch {
	case h == nil:
		return ErrDamaged
	case s.Until != 0 && !h.GetPartial() && h.GetBase() > s.Until:
		return fmt.Errorf("the backup begins at revision %d, after %d", h.GetBase(), s.Until)
	case !h.GetPartial():
		s.entities = map[string]*controlv1.Entity{}
	case s.Head == nil:
		return fmt.Errorf("the backup has only what came after revision %d: name the ones before it first", h.GetBase())
	case h.GetEpoch() != s.Head.GetEpoch():
		return fmt.Errorf("the backup is of another installation or history (%s) than the one before it (%s)", h.GetEpoch(), s.Head.GetEpoch())
	case s.Until != 0 && s.Head.GetRev() == s.Until:
		return nil // all its steps come later
	case h.GetBase() > s.Head.GetRev():
		return fmt.Errorf("a backup is missing: what came after revision %d up to %d", s.Head.GetRev(), h.GetBase())
	}
	at := h.GetBase()
	if h.GetPartial() {
		at = s.Head.GetRev()
	}
	s.Head = &controlv1.BackupHead{Epoch: h.GetEpoch(), Rev: at, Base: h.GetBase(), MadeAt: h.GetMadeAt(), Version: h.GetVersion()}
	if last := h.GetRev(); s.Until == 0 || last <= s.Until {
		s.Head.Rev = max(at, last)
	} else {
		s.Head.Rev = max(at, s.Until)
	}
	s.Head.Base = at // of the steps that were taken in before
	return nil
}

func (s *State) take(part *controlv1.ExportResponse) {
	for _, e := range part.GetEntities() {
		s.entities[e.GetKind()+"/"+e.GetId()] = e
	}
	for _, step := range part.GetSteps() {
		if rev := step.GetRevision().GetRev(); rev <= s.Head.GetBase() || s.Until != 0 && rev > s.Until {
			continue
		}
		for _, e := range step.GetPut() {
			s.entities[e.GetKind()+"/"+e.GetId()] = e
		}
		for _, e := range step.GetDeleted() {
			delete(s.entities, e.GetKind()+"/"+e.GetIdOrKey())
		}
	}
}

// Entities are those of the state, by kind and id.
func (s *State) Entities() ([]*controlv1.Entity, error) {
	if s.Until != 0 && s.Head.GetRev() < s.Until {
		return nil, fmt.Errorf("the backups end at revision %d, before %d", s.Head.GetRev(), s.Until)
	}
	return slices.SortedFunc(maps.Values(s.entities), func(a, b *controlv1.Entity) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetId(), b.GetId()))
	}), nil
}
