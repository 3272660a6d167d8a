package feed

import (
	"fmt"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// stage gathers the chunks of one move, in their order: what a later chunk says of an entity
// replaces what an earlier one said.
type stage struct {
	to      Pos
	chunks  int
	next    int
	whole   bool
	changes []Change
	index   map[string]int // of changes, by name
}

// add takes one chunk. It returns nil when the stage is not complete yet. An error is a
// control plane that does not speak the protocol.
func (s *stage) add(m *discovery.DeltaDiscoveryResponse) (*stage, error) {
	v, err := feedv1.ParseVersion(m.GetSystemVersionInfo())
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	if v.Chunk == 0 {
		*s = stage{to: v.To, chunks: v.Chunks, index: make(map[string]int)}
	}
	if v.Chunk != s.next || v.Chunks != s.chunks || v.To != s.to {
		return nil, fmt.Errorf("chunk %d of %d of %v follows chunk %d of %d of %v",
			v.Chunk, v.Chunks, v.To, s.next-1, s.chunks, s.to)
	}
	s.next++
	if err := s.take(m, v.Chunk == 0); err != nil {
		return nil, err
	}
	if !v.Last() {
		return nil, nil
	}
	return s, nil
}

func (s *stage) take(m *discovery.DeltaDiscoveryResponse, first bool) error {
	for _, name := range m.GetRemovedResources() {
		if name == feedv1.Everything {
			if !first {
				return fmt.Errorf("%q is removed in the middle of a move", name)
			}
			s.whole = true
		}
	}
	for _, r := range m.GetResources() {
		c, err := readEntry(r)
		if err != nil {
			return err
		}
		s.put(r.GetName(), c)
	}
	for _, name := range m.GetRemovedResources() {
		if name == feedv1.Everything {
			continue
		}
		kind, id, ok := strings.Cut(name, "/")
		if !ok || kind == "" || id == "" {
			return fmt.Errorf("removed resource %q is not kind/id", name)
		}
		s.put(name, Change{Kind: kind, ID: id})
	}
	return nil
}

func (s *stage) put(name string, c Change) {
	if i, ok := s.index[name]; ok {
		s.changes[i] = c
		return
	}
	s.index[name] = len(s.changes)
	s.changes = append(s.changes, c)
}

// move is the complete stage as a step from where the node stands.
func (s *stage) move(from Pos) Move {
	changes := s.changes
	if s.whole {
		changes = changes[:0]
		for _, c := range s.changes {
			if c.Body != nil { // set by one chunk and removed by a later one
				changes = append(changes, c)
			}
		}
	}
	return Move{From: from, To: s.to, Full: s.whole, Changes: changes}
}

func readEntry(r *discovery.Resource) (Change, error) {
	e := new(feedv1.Entry)
	if t := r.GetResource().GetTypeUrl(); t != feedv1.EntryType {
		return Change{}, fmt.Errorf("resource %q has type %q", r.GetName(), t)
	}
	if err := proto.Unmarshal(r.GetResource().GetValue(), e); err != nil {
		return Change{}, fmt.Errorf("read resource %q: %w", r.GetName(), err)
	}
	return changeOf(e, r.GetName())
}

func changeOf(e *feedv1.Entry, name string) (Change, error) {
	c := Change{Kind: e.GetKind(), ID: e.GetId(), Rev: e.GetRev(), Body: e.GetBody()}
	if c.Kind == "" || c.ID == "" || strings.Contains(c.Kind, "/") || c.name() != name {
		return Change{}, fmt.Errorf("resource %q holds the entry %q", name, c.name())
	}
	if c.Body == nil {
		c.Body = []byte{} // an entity without fields is not a deletion
	}
	return c, nil
}
