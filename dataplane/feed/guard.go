package feed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

const (
	// settleFor is how long after a swap a death is blamed on it.
	settleFor = 2 * time.Second
	// maxDeaths is how many revisions are remembered as deadly, the number that can be
	// recovered: walking back through all of them ends at one that was not.
	maxDeaths = recoverable
	// last is the last line of the file.
	last = "end"
)

// guard remembers across a crash what the node was about to apply. It is a small text file,
// kept open and written before the swap without fsync: what it says outlives the process, which
// is what it is for.
//
// One death may have any reason: a kill -9 by hand, the machine. So the first one only makes a
// revision suspect, and it is tried again; of a second one the revision is guilty.
type guard struct {
	file    *os.File // nil: in memory only
	version string
	wake    chan struct{}

	mu       sync.Mutex
	applying Pos // zero: nothing that could be blamed
	since    time.Time
	suspects []Pos // died of once
	dead     []Pos // died of twice, oldest first
}

func openGuard(dir, version string) (*guard, error) {
	g := &guard{version: version, wake: make(chan struct{}, 1)}
	if dir == "" {
		return g, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "applying"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	g.file = file
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	g.read(string(text))
	return g, g.write()
}

// read takes what a process before this one left. What was being applied is what it died of.
// Another build starts afresh: it may survive what the older one did not.
func (g *guard) read(text string) {
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Scan()
	if sc.Text() != "version "+g.version {
		return
	}
	for sc.Scan() {
		if sc.Text() == last {
			return
		}
		word, rest, _ := strings.Cut(sc.Text(), " ")
		at, err := feedv1.ParsePos(rest)
		if err != nil {
			continue // a torn line blames nobody
		}
		switch word {
		case "suspected":
			g.suspects = blame(g.suspects, at)
		case "crashed":
			g.dead = blame(g.dead, at)
		case "applying":
			if holds(g.suspects, at) {
				g.suspects = slices.DeleteFunc(g.suspects, func(s Pos) bool { return same(s, at) })
				g.dead = blame(g.dead, at)
			} else {
				g.suspects = blame(g.suspects, at)
			}
		}
	}
}

// blame adds a revision to a list, which keeps the newest.
func blame(list []Pos, at Pos) []Pos {
	if !holds(list, at) {
		list = append(list, at)
	}
	return list[max(0, len(list)-maxDeaths):]
}

func holds(list []Pos, at Pos) bool {
	return slices.ContainsFunc(list, func(p Pos) bool { return same(p, at) })
}

// same compares revisions, under whatever generation.
func same(a, b Pos) bool {
	return a.Epoch == b.Epoch && a.Staged == b.Staged && a.Live == b.Live && a.Hash == b.Hash
}

// write says what there is to say, over what the file said: a process that is killed does not
// tear a write, and what a longer text left behind the last line is not read.
func (g *guard) write() error {
	if g.file == nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "version %s\n", g.version)
	for _, at := range g.dead {
		fmt.Fprintf(&b, "crashed %v\n", at)
	}
	for _, at := range g.suspects {
		fmt.Fprintf(&b, "suspected %v\n", at)
	}
	if g.applying != (Pos{}) {
		fmt.Fprintf(&b, "applying %v\n", g.applying)
	}
	b.WriteString(last + "\n")
	_, err := g.file.WriteAt(b.Bytes(), 0)
	return err
}

// begin notes what is about to be applied.
func (g *guard) begin(to Pos) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applying, g.since = to, time.Time{}
	return g.write()
}

// abandon notes that what was begun was refused, and nothing happened.
func (g *guard) abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applying = Pos{}
	_ = g.write() // what stays behind blames a revision that is refused anyway
}

// applied starts the time after which the revision is trusted.
func (g *guard) applied(to Pos, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.applying == to {
		g.since = now
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// end clears the mark of what is in force: a node that is told to end has not died of it.
func (g *guard) end(now time.Time) {
	g.settle(now.Add(settleFor))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file != nil {
		_ = g.file.Close() // what was to be said is said
		g.file = nil
	}
}

// run clears the mark of revisions that the node survived.
func (g *guard) run(ctx context.Context, clock Clock) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for left := g.settle(clock.Now()); left > 0; left = g.settle(clock.Now()) {
			select {
			case <-ctx.Done():
				return
			case <-clock.After(left):
			}
		}
	}
}

// settle clears the mark when its time is over, and returns how long that is away.
func (g *guard) settle(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.applying == (Pos{}) || g.since.IsZero() {
		return 0
	}
	if left := settleFor - now.Sub(g.since); left > 0 {
		return left
	}
	survived := g.applying
	g.applying = Pos{}
	g.suspects = slices.DeleteFunc(g.suspects, func(s Pos) bool { return same(s, survived) })
	_ = g.write() // a mark that stays makes a good revision suspect after a crash: it is tried again
	return 0
}

// died reports whether the node died of a revision twice.
func (g *guard) died(to Pos) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return holds(g.dead, to)
}

func (g *guard) deaths() []Pos {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.dead)
}
