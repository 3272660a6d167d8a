package feedv1

import (
	"fmt"
	"strconv"
	"strings"
)

// The words of the configuration stream that both planes must spell alike.
const (
	// EntryType is the one type URL of the stream.
	EntryType = "type.googleapis.com/sekifuda.feed.v1.Entry"
	// PosResource is the one key of initial_resource_versions: a node says where it stands,
	// not what it holds. Its value is Pos.String.
	PosResource = "@rev"
	// Everything in removed_resources empties what the node has staged, before anything else
	// of the same message: a whole set follows, not a difference.
	Everything = "*"
)

const (
	maxEpoch  = 64      // bytes; a UUID has 36
	maxChunks = 1 << 16 // of about 1 MB
)

// Pos is a Position as a comparable value. The zero Pos is a node that runs nothing.
type Pos struct {
	Epoch      string
	Generation uint64
	Staged     uint64
	Live       uint64
	Hash       SetHash
}

// String returns "<epoch>.<generation>.<staged>.<live>/<set hash>".
func (p Pos) String() string { return p.numbers() + "/" + p.Hash.String() }

func (p Pos) numbers() string {
	b := make([]byte, 0, len(p.Epoch)+24)
	b = append(b, p.Epoch...)
	for _, n := range [...]uint64{p.Generation, p.Staged, p.Live} {
		b = strconv.AppendUint(append(b, '.'), n, 10)
	}
	return string(b)
}

// ParsePos reads what String wrote.
func ParsePos(s string) (Pos, error) {
	numbers, hash, ok := strings.Cut(s, "/")
	if !ok {
		return Pos{}, fmt.Errorf("position %q has no set hash", clip(s))
	}
	p, err := parseNumbers(numbers)
	if err != nil {
		return Pos{}, err
	}
	p.Hash, err = ParseSetHash(hash)
	return p, err
}

func parseNumbers(s string) (p Pos, err error) {
	f := strings.Split(s, ".")
	if len(f) != 4 {
		return p, fmt.Errorf("position %q is not epoch.generation.staged.live", clip(s))
	}
	if err := checkEpoch(f[0]); err != nil {
		return p, err
	}
	p.Epoch = f[0]
	for i, n := range [...]*uint64{&p.Generation, &p.Staged, &p.Live} {
		if *n, err = strconv.ParseUint(f[i+1], 10, 64); err != nil {
			return Pos{}, fmt.Errorf("read position %q: %w", clip(s), err)
		}
	}
	return p, nil
}

func checkEpoch(s string) error {
	if s == "" || len(s) > maxEpoch || strings.ContainsAny(s, "./") {
		return fmt.Errorf("epoch %q is not a history's id", clip(s))
	}
	return nil
}

// Proto returns the message of p, nil for the zero Pos.
func (p Pos) Proto() *Position {
	if p == (Pos{}) {
		return nil
	}
	return &Position{
		Epoch: p.Epoch, Generation: p.Generation,
		StagedRev: p.Staged, LiveRev: p.Live, SetHash: p.Hash.Bytes(),
	}
}

// PosOf reads a message; nil is the zero Pos.
func PosOf(m *Position) (Pos, error) {
	if m == nil {
		return Pos{}, nil
	}
	if err := checkEpoch(m.GetEpoch()); err != nil {
		return Pos{}, err
	}
	h, err := SetHashOf(m.GetSetHash())
	if err != nil {
		return Pos{}, err
	}
	return Pos{
		Epoch: m.GetEpoch(), Generation: m.GetGeneration(),
		Staged: m.GetStagedRev(), Live: m.GetLiveRev(), Hash: h,
	}, nil
}

// Version is what system_version_info says of one response: the position that the whole
// move leads to, and which of the move's chunks the response is.
type Version struct {
	To     Pos
	Chunk  int // from 0
	Chunks int
}

// Last reports whether the chunk completes its move.
func (v Version) Last() bool { return v.Chunk == v.Chunks-1 }

// String returns "<epoch>.<generation>.<staged>.<live>/<chunk>/<chunks>/<set hash>".
func (v Version) String() string {
	return v.To.numbers() + "/" + strconv.Itoa(v.Chunk) + "/" + strconv.Itoa(v.Chunks) + "/" + v.To.Hash.String()
}

// ParseVersion reads what String wrote.
func ParseVersion(s string) (v Version, err error) {
	f := strings.Split(s, "/")
	if len(f) != 4 {
		return v, fmt.Errorf("version %q is not position/chunk/chunks/hash", clip(s))
	}
	if v.To, err = parseNumbers(f[0]); err != nil {
		return Version{}, err
	}
	if v.To.Hash, err = ParseSetHash(f[3]); err != nil {
		return Version{}, err
	}
	chunk, err1 := strconv.ParseUint(f[1], 10, 32)
	chunks, err2 := strconv.ParseUint(f[2], 10, 32)
	if err1 != nil || err2 != nil || chunks == 0 || chunks > maxChunks || chunk >= chunks {
		return Version{}, fmt.Errorf("version %q: chunk %q of %q", clip(s), clip(f[1]), clip(f[2]))
	}
	v.Chunk, v.Chunks = int(chunk), int(chunks)
	return v, nil
}

// clip keeps an error readable when a peer sends nonsense.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "..."
	}
	return s
}
