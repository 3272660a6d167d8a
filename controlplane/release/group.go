package release

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Set assigns a group. A revision of 0 keeps a pinned or frozen group where it is.
func (d *Desk) Set(ctx context.Context, name string, to *controlv1.Assignment, by By) (g *controlv1.Group, err error) {
	err = d.change(ctx, by, func(s *state) error {
		if g, err = s.idle(name); err != nil {
			return err
		}
		want := proto.CloneOf(to)
		if err := s.complete(g, want); err != nil {
			return err
		}
		if !proto.Equal(want, g.GetAssignment()) {
			s.assign(g, want)
		}
		return nil
	})
	return g, err
}

// complete checks an assignment and fills in where the group stands.
func (s *state) complete(g *controlv1.Group, a *controlv1.Assignment) error {
	switch a.GetMode() {
	case controlv1.Mode_MODE_FOLLOW:
		if a.GetRev() != 0 {
			return refuse("a group that follows head cannot be at revision %d as well: pin it", a.GetRev())
		}
		return nil
	case controlv1.Mode_MODE_PINNED, controlv1.Mode_MODE_FROZEN:
		if a.Rev == 0 {
			a.Rev = s.stands(g)
		}
		return s.known(a.GetRev())
	}
	return refuse("mode must be follow, pinned or frozen")
}

// known refuses revisions that nodes cannot be given.
func (s *state) known(rev uint64) error {
	switch {
	case rev == 0:
		return refuse("there is no revision yet")
	case rev > s.head.Rev:
		return refuse("revision %d does not exist; head is %d", rev, s.head.Rev)
	case rev < s.head.Floor:
		return refuse("revision %d is no longer kept; the oldest is %d", rev, s.head.Floor)
	}
	return nil
}

// Swap gives each of two groups what the other was assigned. Swapped again they are as before.
func (d *Desk) Swap(ctx context.Context, a, b string, by By) (ga, gb *controlv1.Group, err error) {
	if a == b {
		return nil, nil, refuse("a group cannot be switched with itself")
	}
	err = d.change(ctx, by, func(s *state) error {
		if ga, err = s.movable(a); err != nil {
			return err
		}
		if gb, err = s.movable(b); err != nil {
			return err
		}
		if proto.Equal(ga.GetAssignment(), gb.GetAssignment()) {
			return blocked("%s and %s stand at the same: %s", a, b, where(ga.GetAssignment()))
		}
		toA, toB := gb.GetAssignment(), ga.GetAssignment()
		s.assign(ga, toA)
		s.assign(gb, toB)
		return nil
	})
	return ga, gb, err
}

// Rollback takes a group back: out of the release that moves it, to what it was assigned
// before, or, when it follows head, to the revision before head. A second one is the way forth.
func (d *Desk) Rollback(ctx context.Context, name string, by By) (g *controlv1.Group, err error) {
	err = d.change(ctx, by, func(s *state) error {
		if g, err = s.thawed(name); err != nil {
			return err
		}
		if m := g.GetMove(); m != nil {
			r, ok := s.releases[m.GetRelease()]
			if !ok {
				return noRelease(m.GetRelease())
			}
			return s.takeBack(r.is, "")
		}
		to := g.GetPrevious()
		if g.GetAssignment().GetMode() == controlv1.Mode_MODE_FOLLOW {
			if s.head.Rev <= max(1, s.head.Floor) {
				return blocked("there is nothing before revision %d", s.head.Rev)
			}
			to = pinned(s.head.Rev - 1)
		}
		if to == nil {
			return blocked("nothing is known of where %s stood before", name)
		}
		if err := s.complete(g, to); err != nil {
			return err
		}
		s.assign(g, to)
		return nil
	})
	return g, err
}

func pinned(rev uint64) *controlv1.Assignment {
	return &controlv1.Assignment{Mode: controlv1.Mode_MODE_PINNED, Rev: rev}
}

// group returns a group to work on; one that was never assigned follows head.
func (s *state) group(name string) (*controlv1.Group, error) {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return nil, refuse("a group's name must have 1 to %d bytes of text", maxName)
	}
	if k := s.groups[name]; k != nil {
		return k.is, nil
	}
	g := &controlv1.Group{Name: name, Generation: 1, Assignment: &controlv1.Assignment{Mode: controlv1.Mode_MODE_FOLLOW}}
	s.groups[name] = &kept[*controlv1.Group]{is: g}
	return g, nil
}

// idle is group, unless a release moves it.
func (s *state) idle(name string) (*controlv1.Group, error) {
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	if m := g.GetMove(); m != nil {
		return nil, blocked("release %s moves %s: promote it to its end or roll it back first", m.GetRelease(), name)
	}
	return g, nil
}

// thawed is group, unless it is frozen.
func (s *state) thawed(name string) (*controlv1.Group, error) {
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	if g.GetAssignment().GetMode() == controlv1.Mode_MODE_FROZEN {
		return nil, blocked("%s is frozen at revision %d: pin it or let it follow head first", name, g.GetAssignment().GetRev())
	}
	return g, nil
}

// movable is group, unless it is frozen or a release moves it.
func (s *state) movable(name string) (*controlv1.Group, error) {
	if _, err := s.thawed(name); err != nil {
		return nil, err
	}
	return s.idle(name)
}

// stands is the revision that a group runs.
func (s *state) stands(g *controlv1.Group) uint64 {
	if g.GetAssignment().GetMode() == controlv1.Mode_MODE_FOLLOW {
		return s.head.Rev
	}
	return g.GetAssignment().GetRev()
}

// assign gives a group another assignment.
func (s *state) assign(g *controlv1.Group, to *controlv1.Assignment) {
	g.Previous, g.Assignment = g.GetAssignment(), proto.CloneOf(to)
	s.touch(g)
}

// touch makes an altered group the newest there is.
func (s *state) touch(g *controlv1.Group) {
	g.Generation++
	g.ChangedAt, g.Actor, g.Reason = stamp(s.now), s.by.Actor, s.by.Reason
	s.groups[g.GetName()].dirty = true
}

// where says an assignment as a person would.
func where(a *controlv1.Assignment) string {
	if a.GetMode() == controlv1.Mode_MODE_FOLLOW {
		return "both follow head"
	}
	return "revision " + number(a.GetRev())
}
