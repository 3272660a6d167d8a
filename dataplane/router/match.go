package router

// Match finds the route of a request and fills m. It does not allocate, except for the
// captures of a regex. It is safe for concurrent use; a nil router has no routes.
func (r *Router[T]) Match(q *Request, m *Match[T]) bool {
	if r == nil {
		return false
	}
	var s search[T]
	if r.exact.Len() > 0 {
		if n, ok := r.exact.Find(hashForward(q.Host), q.Host, equalFold); ok {
			s.walk(n, q)
		}
	}
	if r.suffix.Len() > 0 {
		s.suffixes(r, q)
	}
	if r.prefix.Len() > 0 {
		s.prefixes(r, q)
	}
	if r.any != nil {
		s.walk(r.any, q)
	}
	if s.best.rule == nil {
		return false
	}
	s.fill(q, m)
	return true
}

// search is the best candidate found so far, and how long its plain path is.
type search[T any] struct {
	best  cand[T]
	depth int
}

func (s *search[T]) suffixes(r *Router[T], q *Request) {
	h := uint64(hashBasis)
	for i := len(q.Host) - 1; i >= 0 && len(q.Host)-i <= r.longest; i-- {
		h = (h ^ uint64(lower(q.Host[i]))) * hashPrime
		if q.Host[i] == '.' {
			if n, ok := r.suffix.Find(spread(h), q.Host[i:], equalFold); ok {
				s.walk(n, q)
			}
		}
	}
}

func (s *search[T]) prefixes(r *Router[T], q *Request) {
	h := uint64(hashBasis)
	for i := 0; i < len(q.Host) && i < r.longest; i++ {
		h = (h ^ uint64(lower(q.Host[i]))) * hashPrime
		if q.Host[i] == '.' {
			if n, ok := r.prefix.Find(spread(h), q.Host[:i+1], equalFold); ok {
				s.walk(n, q)
			}
		}
	}
}

// walk goes down a path tree as far as the request's path leads, and leaves it where nothing
// below could be better than what is found.
func (s *search[T]) walk(n *node[T], q *Request) {
	path := q.Path
	depth := 0
	for n.best >= s.best.prio && len(path)-depth >= len(n.text) && path[depth:depth+len(n.text)] == n.text {
		depth += len(n.text)
		s.try(n.plain, q, depth)
		if n.regex != nil {
			n.regex.search(s, q, depth)
		}
		if depth == len(path) {
			return
		}
		i, ok := n.kid(path[depth])
		if !ok {
			return
		}
		n = n.kids[i]
	}
}

// try takes the first of a list, best first, that matches and is better than what is found.
func (s *search[T]) try(list []cand[T], q *Request, depth int) {
	for i := range list {
		c := &list[i]
		if !c.before(&s.best) {
			return
		}
		if c.ok(q) {
			s.best = *c
			s.depth = depth
			return
		}
	}
}

func (s *search[T]) fill(q *Request, m *Match[T]) {
	rule := s.best.rule
	m.Value = rule.value
	m.Prefix = ""
	m.CaptureNames, m.CaptureMissing = nil, 0
	m.CaptureValues = m.CaptureValues[:0]
	switch {
	case rule.tests.condition != nil:
		rule.tests.condition.fill(q, &m.Prefix, &m.CaptureNames, &m.CaptureValues)
	case rule.noPaths:
	case s.best.regex == nil:
		m.Prefix = q.Path[:s.depth]
	default:
		s.best.regex.fill(q.Path, &m.Prefix, &m.CaptureNames, &m.CaptureValues, &m.CaptureMissing)
	}
}
