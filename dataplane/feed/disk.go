package feed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	maxPending = 64 << 20 // bytes of moves not written yet; past it a base is written instead
	minGrowth  = 4 << 20  // bytes of revisions behind a base before a new one is worth it
	retryDisk  = 5 * time.Second
)

// file is what the writer needs of an os.File; tests put a full disk in its place.
type file interface {
	Write(b []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// disk keeps the last good configurations in files config-<number>.lkg: a base and the
// revisions that followed it. The newest is appended to; when it has grown, a new base is
// written beside, while the older file still holds the revisions before it. Enforcement
// never waits for it: moves queue, and a disk that refuses them costs no more than the
// ability to start without a control plane.
type disk struct {
	dir    string
	key    []byte
	client *Client
	create func(path string) (file, error)
	wake   chan struct{}

	// Owned by run, and by Boot before it.
	out     file // nil: the next write is a base
	sealer  *sealer
	number  uint64 // of the newest file
	size    int64
	base    int64 // size when the base was written
	commits int   // in the newest file

	mu      sync.Mutex // taken after the client's
	queue   []Move
	queued  int // bytes
	rebase  bool
	written Pos
	err     error
}

func openDisk(dir string, c *Client) (*disk, error) {
	key, err := nodeKey(dir)
	if err != nil {
		return nil, err
	}
	return &disk{
		dir: dir, key: key, client: c, wake: make(chan struct{}, 1),
		create: func(path string) (file, error) {
			// Appending, so that a write after a torn one was cut off goes to the end.
			return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
		},
	}, nil
}

func (d *disk) state() (Pos, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written, d.err
}

// append queues a move that is in force. The client's lock is held, so that the queue and
// the set stay in step.
func (d *disk) append(m Move) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := 0
	for i := range m.Changes {
		size += 64 + len(m.Changes[i].Body)
	}
	if m.Full || d.queued+size > maxPending {
		d.queue, d.queued, d.rebase = nil, 0, true
	} else if !d.rebase {
		d.queue, d.queued = append(d.queue, m), d.queued+size
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// close writes what is left, once nobody appends any more.
func (d *disk) close() {
	if err := d.flush(); err != nil {
		d.client.Log.Error("last good configuration is not on disk", "error", err)
	}
	if d.out != nil {
		d.out.Close()
		d.out = nil
	}
}

// run writes what is queued until ctx ends.
func (d *disk) run(ctx context.Context) {
	for {
		var again <-chan time.Time
		if err := d.flush(); err != nil {
			d.client.Log.ErrorContext(ctx, "last good configuration is not on disk", "error", err)
			again = d.client.Clock.After(retryDisk)
		}
		select {
		case <-d.wake:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// flush brings the disk up to date.
func (d *disk) flush() error {
	moves, rebase := d.take()
	var err error
	switch {
	case rebase || len(moves) > 0 && (d.out == nil || d.grown()):
		err = d.writeBase()
	case len(moves) > 0:
		if err = d.writeMoves(moves); err != nil {
			d.restore(moves)
		}
	default:
		return nil
	}
	d.mu.Lock()
	d.err = err
	d.mu.Unlock()
	return err
}

func (d *disk) take() (moves []Move, rebase bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	moves, rebase = d.queue, d.rebase
	d.queue, d.queued = nil, 0
	return moves, rebase
}

// restore puts moves that could not be written back before those that came meanwhile.
func (d *disk) restore(moves []Move) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.rebase {
		d.queue = append(moves, d.queue...)
	}
}

// grown reports whether the revisions behind the base are worth a new one. Their number is
// kept recoverable by the older file.
func (d *disk) grown() bool {
	return d.commits > recoverable && d.size-d.base > max(d.base, minGrowth)
}

// writeMoves appends moves to the newest file, with one fsync.
func (d *disk) writeMoves(moves []Move) error {
	var b []byte
	start := d.sealer.n
	for _, m := range moves {
		records, err := encodeMove(m)
		if err != nil {
			return err
		}
		for _, ops := range records {
			b = d.sealer.seal(b, ops)
		}
	}
	_, err := d.out.Write(b)
	if err == nil {
		err = d.out.Sync()
	}
	if err != nil {
		// What was torn is cut off, so that the next try continues a good file; if even that
		// fails, the next write is a base in a file of its own.
		d.sealer.n = start
		if cut := d.out.Truncate(d.size); cut != nil {
			d.abandon()
		}
		return fmt.Errorf("append %d revisions: %w", len(moves), err)
	}
	d.size += int64(len(b))
	d.commits += len(moves)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = moves[len(moves)-1].To
	return nil
}

func (d *disk) abandon() {
	d.out.Close()
	d.out = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rebase = true
}

// snapshot is what the client runs, as a move from nothing. What was queued is part of it.
func (d *disk) snapshot() Move {
	d.client.mu.Lock()
	defer d.client.mu.Unlock()
	m := Move{To: d.client.status.Running, Full: true, Changes: d.client.set.changes()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue, d.queued, d.rebase = nil, 0, false
	return m
}

// writeBase writes everything into a new file, which takes its place in one step.
func (d *disk) writeBase() error {
	m := d.snapshot()
	err := d.writeFile(m)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.rebase, d.queue, d.queued = true, nil, 0
		return fmt.Errorf("write revision %d.%d whole: %w", m.To.Staged, m.To.Live, err)
	}
	d.written = m.To
	return nil
}

func (d *disk) writeFile(m Move) error {
	s, err := newSealer(d.key)
	if err != nil {
		return err
	}
	tmp := filepath.Join(d.dir, "config.tmp")
	f, err := d.create(tmp)
	if err != nil {
		return err
	}
	size, err := writeAll(f, s, m)
	if err == nil {
		err = f.Sync()
	}
	path := filePath(d.dir, d.number+1)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(tmp))
	}
	if d.out != nil {
		d.out.Close()
	}
	older := d.commits
	d.out, d.sealer, d.size, d.base, d.commits = f, s, size, size, 1
	d.number++
	d.tidy(older)
	return syncDir(d.dir)
}

func writeAll(f file, s *sealer, m Move) (size int64, err error) {
	records, err := encodeMove(m)
	if err != nil {
		return 0, err
	}
	b := s.header()
	for _, ops := range records {
		b = s.seal(b, ops)
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		size += int64(len(b))
		b = b[:0]
	}
	return size, nil
}

// tidy removes files that are not needed to go back so many revisions: the newest one, the
// one before it, and a third when that one is short.
func (d *disk) tidy(older int) {
	keep := 3
	if older >= recoverable {
		keep = 2
	}
	for i, n := range files(d.dir) {
		if i >= keep {
			_ = os.Remove(filePath(d.dir, n)) // it is removed with the next base
		}
	}
}

func filePath(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("config-%d.lkg", n))
}

// files returns the numbers of the files in dir, newest first.
func files(dir string) []uint64 {
	names, _ := filepath.Glob(filepath.Join(dir, "config-*.lkg"))
	var all []uint64
	for _, name := range names {
		var n uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "config-%d.lkg", &n); err == nil && filePath(dir, n) == name {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
