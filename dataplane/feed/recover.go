package feed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// recoverable is how many revisions before the newest one a node can start on.
const recoverable = 20

// recovered is what a file holds up to one of its revisions.
type recovered struct {
	set     set
	commits []Pos // all revisions up to it, oldest first
	end     int64 // where its last record ends
	base    int64 // where its first revision ends
	records uint64
	damage  error // why the file was not read any further; nil at its end
}

func (r *recovered) last() Pos {
	if len(r.commits) == 0 {
		return Pos{}
	}
	return r.commits[len(r.commits)-1]
}

// recoverFile reads a file up to its revision number limit (0: as far as it is good). What
// follows the last revision whose records and set hash are right is not read.
func recoverFile(path string, key []byte, limit int) (*recovered, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return recoverFrom(f, key, limit)
}

func recoverFrom(f io.Reader, key []byte, limit int) (*recovered, error) {
	s, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(f, cutRecord)
	r := &recovered{set: newSet()}
	if err := s.begin(in); err != nil {
		r.damage = err
		return r, nil
	}
	p := pending{into: r}
	for at := int64(headerSize); limit == 0 || len(r.commits) < limit; {
		ops, size, err := s.open(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			at += size
			err = p.take(ops, at, s.n)
		}
		if err != nil {
			r.damage = err
			break
		}
	}
	return r, nil
}

// pending gathers ops until they are committed.
type pending struct {
	into  *recovered
	whole bool
	stage stage
}

func (p *pending) take(ops []byte, end int64, records uint64) error {
	for len(ops) > 0 {
		tag, body, rest, err := nextOp(ops)
		if err != nil {
			return err
		}
		ops = rest
		if p.stage.index == nil {
			p.stage.index = make(map[string]int)
		}
		if tag == opCommit && len(ops) > 0 {
			return fmt.Errorf("commit: %w: not the last op", errDamaged)
		}
		if err := p.op(tag, body); err != nil {
			return err
		}
		if tag == opCommit {
			p.into.end, p.into.records = end, records
			if len(p.into.commits) == 1 {
				p.into.base = end
			}
		}
	}
	return nil
}

func (p *pending) op(tag byte, body []byte) error {
	switch tag {
	case opWipe:
		p.stage = stage{index: make(map[string]int)}
		p.whole = true
	case opPut:
		e := new(feedv1.Entry)
		if err := proto.Unmarshal(body, e); err != nil {
			return fmt.Errorf("entry: %w: %w", errDamaged, err)
		}
		c, err := changeOf(e, e.GetKind()+"/"+e.GetId())
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		p.stage.put(c.name(), c)
	case opRemove:
		kind, id, ok := strings.Cut(string(body), "/")
		if !ok {
			return fmt.Errorf("removal of %q: %w", body, errDamaged)
		}
		p.stage.put(string(body), Change{Kind: kind, ID: id})
	case opCommit:
		return p.commit(string(body))
	default:
		return fmt.Errorf("op %d: %w: not known", tag, errDamaged)
	}
	return nil
}

func (p *pending) commit(text string) error {
	to, err := feedv1.ParsePos(text)
	if err != nil {
		return fmt.Errorf("commit: %w: %w", errDamaged, err)
	}
	p.stage.to, p.stage.whole = to, p.whole
	m := p.stage.move(p.into.last())
	if got := p.into.set.after(m.Full, m.Changes); got != to.Hash {
		return fmt.Errorf("revision %d.%d: %w: set hash %v, want %v", to.Staged, to.Live, errDamaged, got, to.Hash)
	}
	p.into.set.apply(m.Full, m.Changes, to.Hash)
	p.into.commits = append(p.into.commits, to)
	p.stage, p.whole = stage{}, false
	return nil
}
