package router

import "github.com/sekifuda/sekifuda/dataplane/router/hamt"

const (
	// gramLength is the length of the texts by which regexes are told apart.
	gramLength = 4
	// fewRegexes may stand at one node without being told apart: to try them costs less.
	fewRegexes = 8
	// filterWords bounds the filter before the table of grams to 4,096 bits: enough to turn
	// away most of a path's texts with a thousand regexes at one node, and cheap to copy.
	filterWords = 64
)

// regexSet is the regexes at one node. Each beyond the first few hangs at one text that all
// its matches contain, the rarest so far: a request tries only those whose text its path
// contains. It is immutable.
type regexSet[T any] struct {
	always []cand[T] // best first
	byGram hamt.Map[[]cand[T]]
	filter [filterWords]uint64
	top    uint64 // no priority is higher; it is not lowered when regexes go
}

func (s *regexSet[T]) insert(x cand[T]) *regexSet[T] {
	n := &regexSet[T]{byGram: hamt.New[[]cand[T]](hashForward)}
	if s != nil {
		*n = *s
	}
	n.top = max(n.top, x.prio)
	if len(n.always) < fewRegexes || len(x.regex.grams) == 0 {
		n.always = insertCand(n.always, x)
		return n
	}
	gram := x.regex.grams[0]
	bucket, _ := n.byGram.Get(gram)
	for _, g := range x.regex.grams[1:] {
		if b, _ := n.byGram.Get(g); len(b) < len(bucket) {
			gram, bucket = g, b
		}
	}
	n.byGram = n.byGram.Set(gram, insertCand(bucket, x))
	word, bit := filterBit(pack(gram))
	n.filter[word] |= bit
	return n
}

// remove returns nil for a set that is left empty.
func (s *regexSet[T]) remove(x cand[T]) *regexSet[T] {
	if s == nil {
		return nil
	}
	n := *s
	n.always = removeCand(s.always, x)
	if len(n.always) == len(s.always) {
		for _, g := range x.regex.grams {
			b, ok := s.byGram.Get(g)
			if !ok {
				continue
			}
			switch kept := removeCand(b, x); {
			case len(kept) == len(b):
				continue
			case len(kept) == 0:
				n.byGram = s.byGram.Delete(g) // its bit stays: it may be another's too
			default:
				n.byGram = s.byGram.Set(g, kept)
			}
			break
		}
	}
	if n.byGram.Len() == 0 {
		n.filter = [filterWords]uint64{}
		if len(n.always) == 0 {
			return nil
		}
	}
	return &n
}

// swap returns a set with x in the place of what is the same with the rule was.
func (s *regexSet[T]) swap(was *rule[T], x cand[T]) *regexSet[T] {
	n := *s
	var ok bool
	if n.always, ok = swapCand(s.always, was, x); ok {
		return &n
	}
	for _, g := range x.regex.grams {
		b, _ := s.byGram.Get(g)
		if b, ok = swapCand(b, was, x); ok {
			n.byGram = s.byGram.Set(g, b)
			break
		}
	}
	return &n
}

// search tries the regexes that may match. depth is how much of the path led here.
func (s *regexSet[T]) search(found *search[T], q *Request, depth int) {
	found.try(s.always, q, depth)
	if s.byGram.Len() == 0 {
		return
	}
	var g uint32
	path := q.Path
	from := max(0, depth-gramLength+1)
	for i := from; i < len(path); i++ {
		g = g<<8 | uint32(lower(path[i]))
		if i-from < gramLength-1 {
			continue
		}
		if word, bit := filterBit(g); s.filter[word]&bit == 0 {
			continue
		}
		text := path[i-gramLength+1 : i+1]
		if b, ok := s.byGram.Find(hashForward(text), text, equalFold); ok {
			found.try(b, q, depth)
		}
	}
}

func pack(gram string) uint32 {
	return uint32(gram[0])<<24 | uint32(gram[1])<<16 | uint32(gram[2])<<8 | uint32(gram[3])
}

func filterBit(g uint32) (word uint32, bit uint64) {
	h := g * 0x9E3779B1 >> 20 // the upper 12 bits: 64 words of 64
	return h >> 6, 1 << (h & 63)
}
