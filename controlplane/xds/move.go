package xds

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Bounds of what is kept encoded.
const (
	maxDiffs     = 1024     // different (from, to) pairs; one revision makes a few
	maxDiffBytes = 64 << 20 // of all of them
	maxOpen      = 64       // moves of several chunks under way
	idleFor      = time.Minute
)

// move is one encoded way from a position, or from nothing, to another. All nodes that need
// it share it; it is never changed.
type move struct {
	id       uint64
	to       feedv1.Pos
	chunks   [][]byte
	versions []string          // of each chunk
	arrived  map[string]string // what the delta server remembers of a node that was sent all
	full     *full             // what the move begins with, if it is a whole set's
	used     time.Time
}

func newMove(to feedv1.Pos, chunks [][]byte) *move {
	m := &move{to: to, chunks: chunks, versions: make([]string, len(chunks))}
	for i := range chunks {
		m.versions[i] = feedv1.Version{To: to, Chunk: i, Chunks: len(chunks)}.String()
	}
	m.arrived = map[string]string{feedv1.PosResource: to.String()}
	return m
}

func (m *move) large() bool { return len(m.chunks) > 1 }

// moveResource is where the delta server carries how far a move of several chunks came.
const moveResource = "@move"

// next is what the delta server must remember of a node that was sent chunk k.
func (m *move) next(k int, from feedv1.Pos) map[string]string {
	if k == len(m.chunks)-1 {
		return m.arrived
	}
	at := map[string]string{moveResource: strconv.FormatUint(m.id, 10) + "/" + strconv.Itoa(k+1)}
	if from != (feedv1.Pos{}) {
		at[feedv1.PosResource] = from.String()
	}
	return at
}

// underWay reads what next wrote of an unfinished move.
func underWay(known map[string]string) (id uint64, chunk int, ok bool) {
	a, b, ok := strings.Cut(known[moveResource], "/")
	if !ok {
		return 0, 0, false
	}
	id, err := strconv.ParseUint(a, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	chunk, err = strconv.Atoi(b)
	return id, chunk, err == nil
}

// maxFulls are kept so that fresh nodes of two groups, far apart, do not evict each other's.
const maxFulls = 2

// full is one view encoded whole. It opens the way for every fresh node: what happened since
// follows it as a difference, so that it is not encoded anew for each revision.
type full struct {
	view   snapshot.View
	chunks [][]byte
	size   int
	used   time.Time
}

func newFull(v snapshot.View, chunk int) *full {
	k := chunker{size: chunk}
	k.remove(feedv1.Everything)
	for e := range v.All() {
		k.put(e)
	}
	return &full{view: v, chunks: k.done(), size: k.total}
}

// lead returns the chunks from nothing to a view, and how many bytes of them are not f's. It
// is false when too much of what fresh nodes would get is out of date, and for a set of one
// chunk, which is as quick to encode anew.
func (f *full) lead(to snapshot.View, chunk int) (chunks [][]byte, size int, ok bool) {
	if f.view == to {
		return f.chunks, 0, true
	}
	if len(f.chunks) == 1 {
		return nil, 0, false
	}
	rest, size := encodeDiff(f.view, to, chunk)
	return append(f.chunks[:len(f.chunks):len(f.chunks)], rest...), size, size <= f.size/4+64<<10
}

// span names a move within one history. From is zero for a whole set.
type span struct {
	whole                                bool
	fromStaged, fromLive, staged, toLive uint64
	generation                           uint64
}

// moves keeps what was encoded for as long as it is likely to be asked for again.
type moves struct {
	chunk int
	id    uint64
	diffs map[span]*move
	bytes int // encoded for diffs alone
	open  map[uint64]*move
	fulls []*full
}

// reset forgets all moves of a history that is over. Moves under way end as they began.
func (m *moves) reset() {
	m.diffs, m.bytes, m.fulls = nil, 0, nil
}

// diff returns the way from a view to another, encoded once.
func (m *moves) diff(from, to snapshot.View, generation uint64) *move {
	at := span{
		fromStaged: from.Staged.Rev(), fromLive: from.Live.Rev(),
		staged: to.Staged.Rev(), toLive: to.Live.Rev(), generation: generation,
	}
	if mv := m.diffs[at]; mv != nil {
		return mv
	}
	chunks, size := encodeDiff(from, to, m.chunk)
	return m.store(at, newMove(to.Pos(generation), chunks), size)
}

// whole returns the way from nothing to a view, or false when a view near it has to be
// encoded whole first.
func (m *moves) whole(to snapshot.View, generation uint64) (*move, bool) {
	at := span{whole: true, staged: to.Staged.Rev(), toLive: to.Live.Rev(), generation: generation}
	if mv := m.diffs[at]; mv != nil {
		return mv, true
	}
	for _, f := range m.fulls {
		if chunks, size, ok := f.lead(to, m.chunk); ok {
			mv := newMove(to.Pos(generation), chunks)
			mv.full = f
			return m.store(at, mv, size), true
		}
	}
	return nil, false
}

// near reports whether whole would find what it needs.
func (m *moves) near(to snapshot.View) bool {
	return slices.ContainsFunc(m.fulls, func(f *full) bool {
		_, _, ok := f.lead(to, m.chunk)
		return ok
	})
}

// add keeps f in the place of the one that was not asked for the longest.
func (m *moves) add(f *full) {
	if len(m.fulls) == maxFulls {
		m.drop(slices.MinFunc(m.fulls, func(a, b *full) int { return a.used.Compare(b.used) }))
	}
	m.fulls = append(m.fulls, f)
}

// drop lets go of f and of the moves that begin with it, but for those under way.
func (m *moves) drop(f *full) {
	m.fulls = slices.DeleteFunc(m.fulls, func(o *full) bool { return o == f })
	for at, mv := range m.diffs {
		if mv.full == f {
			delete(m.diffs, at)
		}
	}
}

func (m *moves) store(at span, mv *move, size int) *move {
	if len(m.diffs) >= maxDiffs || m.bytes+size > maxDiffBytes {
		m.diffs, m.bytes = nil, 0
	}
	if m.diffs == nil {
		m.diffs = make(map[span]*move)
	}
	m.id++
	mv.id = m.id
	m.diffs[at] = mv
	m.bytes += size
	return mv
}

// begin notes that a node is on a move of several chunks, so that its later chunks are found.
func (m *moves) begin(mv *move, now time.Time) {
	if m.open == nil {
		m.open = make(map[uint64]*move)
	}
	mv.used = now
	if mv.full != nil {
		mv.full.used = now
	}
	if m.open[mv.id] != nil {
		return
	}
	if len(m.open) >= maxOpen {
		oldest := mv
		for _, o := range m.open {
			if o.used.Before(oldest.used) {
				oldest = o
			}
		}
		delete(m.open, oldest.id)
	}
	m.open[mv.id] = mv
}

// sweep lets go of what nobody asked for in a while.
func (m *moves) sweep(now time.Time) {
	for id, mv := range m.open {
		if now.Sub(mv.used) > idleFor {
			delete(m.open, id)
		}
	}
	for _, f := range slices.Clone(m.fulls) {
		if now.Sub(f.used) > idleFor {
			m.drop(f)
		}
	}
}

func encodeDiff(from, to snapshot.View, chunk int) (chunks [][]byte, size int) {
	k := chunker{size: chunk}
	for before, after := range snapshot.Diff(from, to) {
		if after == nil {
			k.remove(before.Name())
		} else {
			k.put(after)
		}
	}
	return k.done(), k.total
}
