package filelog

import (
	"bytes"
	"os"
	"sync"
)

const (
	// flushAt is how many bytes wait in memory before they are written.
	flushAt = 64 << 10
	// keepAtMost bounds what waits for a disk that takes nothing: then lines are dropped,
	// and counted.
	keepAtMost = 8 << 20
)

// registry is every log file of the process. Filters of one path share the file, so that
// their lines do not cut each other.
type registry struct {
	mu    sync.Mutex
	paths map[string]*file
}

var files registry

func (r *registry) of(path string) *file {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.paths[path]
	if f == nil {
		f = &file{path: path}
		if r.paths == nil {
			r.paths = map[string]*file{}
		}
		r.paths[path] = f
	}
	return f
}

// file is one log file with the lines that wait for it.
type file struct {
	path string

	mu      sync.Mutex // guards wait; held for the time of one line
	wait    []byte
	spare   []byte // memory of the last flush, to be used again
	dropped int

	disk sync.Mutex // guards f; held while the disk is written
	f    *os.File
}

// append adds a line and reports whether it is time to flush.
func (f *file) append(line func([]byte) []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wait) >= keepAtMost {
		f.dropped++
		return true
	}
	before := len(f.wait)
	f.wait = line(f.wait)
	return before < flushAt && len(f.wait) >= flushAt
}

// flush writes what waits. What cannot be written waits on, up to keepAtMost; dropped is
// how many lines were lost beyond it.
func (f *file) flush() (dropped int, err error) {
	f.disk.Lock()
	defer f.disk.Unlock()
	f.mu.Lock()
	lines := f.wait
	f.wait, f.spare = f.spare[:0], nil
	dropped, f.dropped = f.dropped, 0
	f.mu.Unlock()
	if len(lines) > 0 {
		var n int
		n, err = f.write(lines)
		if n < len(lines) {
			f.giveBack(lines[n:])
			return dropped, err
		}
	}
	f.mu.Lock()
	f.spare = lines[:0]
	f.mu.Unlock()
	return dropped, err
}

// write writes whole lines; n is how many bytes of them are on the way to the disk.
func (f *file) write(lines []byte) (n int, err error) {
	if f.f == nil {
		if f.f, err = os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
			return 0, err
		}
	}
	n, err = f.f.Write(lines)
	if err != nil {
		// The rest begins with the line that was cut: written again it is whole.
		n = bytes.LastIndexByte(lines[:n], '\n') + 1
	}
	return n, err
}

// giveBack puts lines before those that came meanwhile.
func (f *file) giveBack(lines []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait = append(lines, f.wait...)
}

// release closes the file; the next flush opens it by its path.
func (f *file) release() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}
