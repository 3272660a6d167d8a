package guard

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/store/scope"
)

// Grant is a role, and what it is limited to.
type Grant struct {
	Role   Role
	Scopes []scope.Scope // none: it is not
}

// and is what both grants allow: the higher role; of two that are equal what either may write.
func (g Grant) and(other Grant) Grant {
	switch {
	case other.Role > g.Role:
		return other
	case other.Role < g.Role:
		return g
	case len(g.Scopes) == 0 || len(other.Scopes) == 0:
		return Grant{Role: g.Role}
	}
	return Grant{g.Role, slices.Concat(g.Scopes, other.Scopes)}
}

func (g Grant) person(name string) person { return person{name, g.Role, g.Scopes} }

// parseGrant reads "editor", or "editor:kinds=routes+plugins;tags=team-a".
func parseGrant(text string) (g Grant, err error) {
	name, limit, limited := strings.Cut(text, ":")
	if g.Role = roles[name]; g.Role == Nobody {
		return g, fmt.Errorf("role %q is none of viewer, editor, releaser, admin", name)
	}
	if !limited {
		return g, nil
	}
	// What the higher ones may, such as moving a group, is about all entities; a viewer writes none.
	if g.Role != Editor {
		return g, fmt.Errorf("role %q: only an editor can be limited to kinds and tags", text)
	}
	s, err := scope.Parse(limit)
	g.Scopes = []scope.Scope{s}
	return g, err
}

// The first "=" that a role follows ends the value: what comes behind it is the role's limit.
var grantForm = regexp.MustCompile(`^\s*(.*?\S)\s*=\s*((?:viewer|editor|releaser|admin)(?::.*)?)$`)

// ParseRoles reads "claim value=role, ...": what the values of a claim mean.
func ParseRoles(s string) (map[string]Grant, error) {
	if s == "" {
		return nil, nil
	}
	all := map[string]Grant{}
	for pair := range strings.SplitSeq(s, ",") {
		m := grantForm.FindStringSubmatch(strings.TrimSpace(pair))
		switch {
		case !strings.Contains(pair, "="):
			return nil, fmt.Errorf("%q: expected VALUE=ROLE", pair)
		case m == nil:
			return nil, fmt.Errorf("%q: the role must be one of viewer, editor, releaser, admin", pair)
		}
		g, err := parseGrant(m[2])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", pair, err)
		}
		all[m[1]] = g
	}
	return all, nil
}

// limited is set in the byte of a role that limits follow. A replica that does not know it
// refuses the call: it would let it write everything.
const limited = 0x80

// pack is what somebody may, for another replica.
func (p person) pack() []byte {
	if len(p.scopes) == 0 {
		return []byte{byte(p.role)}
	}
	b := binary.AppendUvarint([]byte{byte(p.role) | limited}, uint64(len(p.scopes)))
	for _, s := range p.scopes {
		text := s.String()
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return b
}

// unpackGrant reads what pack wrote, and returns what is behind it.
func unpackGrant(b []byte) (g Grant, rest []byte, err error) {
	if len(b) == 0 || Role(b[0]&^limited) > Admin {
		return g, nil, errUnpack
	}
	g.Role, rest = Role(b[0]&^limited), b[1:]
	if b[0]&limited == 0 {
		return g, rest, nil
	}
	many, n := binary.Uvarint(rest)
	if n <= 0 || many == 0 {
		return g, nil, errUnpack
	}
	for rest = rest[n:]; many > 0; many-- {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return g, nil, errUnpack
		}
		s, err := scope.Parse(string(rest[n : n+int(size)]))
		if err != nil {
			return g, nil, err
		}
		g.Scopes, rest = append(g.Scopes, s), rest[n+int(size):]
	}
	return g, rest, nil
}
