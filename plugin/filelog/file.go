package filelog

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

const (
	// enough is how many bytes are written without waiting for the second to pass. A write is
	// long enough for the scheduler to give the processor away, and to look out for the next one
	// every 20 us: so there should be few.
	enough = 256 << 10
	// tooMuch bounds the buffer. Whoever fills it writes it, as Kong does for every line.
	tooMuch = 4 << 20
	// kept bounds what waits for a file that cannot be written; beyond it lines are lost,
	// and the log says how many bytes.
	kept = 8 << 20
)

// files are the open files of this process, by path: a path has one buffer and one
// descriptor, however many configurations name it.
var files = registry{open: map[string]*file{}}

type registry struct {
	mu   sync.Mutex
	open map[string]*file
}

func (r *registry) take(path string, reopen bool, log *slog.Logger) *file {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.open[path]
	if f == nil {
		f = &file{path: path, log: log, full: make(chan struct{}, 1)}
		r.open[path] = f
	}
	f.users++
	if reopen {
		f.always.Store(true)
	}
	return f
}

// drop gives up one use. The last one closes the file.
func (r *registry) drop(f *file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	delete(r.open, f.path)
	_ = f.flush() // logged there
	f.close()
}

// file is a log file with its buffer.
type file struct {
	path   string
	log    *slog.Logger
	full   chan struct{} // a Run should write now
	users  int           // guarded by the registry
	always atomic.Bool   // config.reopen: no descriptor is kept
	moved  atomic.Bool   // the descriptor is of a file that was rotated

	mu     sync.Mutex
	buffer []byte

	writing sync.Mutex // held around what is below, never together with a wait for mu
	pending []byte     // taken from the buffer, not yet written
	fd      *os.File
	failing bool
}

// append adds a line. It only waits when lines come faster than they can be written.
func (f *file) append(line []byte) {
	f.mu.Lock()
	f.buffer = append(f.buffer, line...)
	n := len(f.buffer)
	f.mu.Unlock()
	if n < enough {
		return
	}
	select {
	case f.full <- struct{}{}:
	default:
	}
	if n >= tooMuch {
		_ = f.flush() // logged there
	}
}

// rotate has the file opened anew before the next write.
func (f *file) rotate() {
	f.moved.Store(true)
	select {
	case f.full <- struct{}{}:
	default:
	}
}

// flush writes all that was added before. What cannot be written is kept for the next time.
func (f *file) flush() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	if len(f.pending) == 0 {
		f.pending, f.buffer = f.buffer, f.pending[:0]
	} else {
		f.pending = append(f.pending, f.buffer...)
		f.buffer = f.buffer[:0]
	}
	f.mu.Unlock()
	if f.moved.Swap(false) || f.always.Load() {
		f.shut()
	}
	if len(f.pending) == 0 {
		return nil
	}
	err := f.write()
	f.report(err)
	return err
}

func (f *file) write() error {
	if f.fd == nil {
		fd, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("open log file: %w", err)
		}
		f.fd = fd
	}
	n, err := f.fd.Write(f.pending)
	f.pending = f.pending[:copy(f.pending, f.pending[n:])]
	if err != nil {
		f.shut() // the next try may find a file again
		return fmt.Errorf("write log file: %w", err)
	}
	return nil
}

// report logs the first of a row of failures, the loss of lines, and the end of a row.
func (f *file) report(err error) {
	if err == nil {
		if f.failing {
			f.log.Info("log file can be written again", "plugin", "file-log", "path", f.path)
		}
		f.failing = false
		return
	}
	if !f.failing {
		f.log.Error("log lines wait for their file", "plugin", "file-log", "path", f.path, "error", err)
	}
	f.failing = true
	if len(f.pending) > kept {
		f.log.Error("log lines are lost", "plugin", "file-log", "path", f.path, "bytes", len(f.pending), "error", err)
		f.pending = f.pending[:0]
	}
}

func (f *file) shut() {
	if f.fd != nil {
		if err := f.fd.Close(); err != nil {
			f.log.Error("close log file", "plugin", "file-log", "path", f.path, "error", err)
		}
		f.fd = nil
	}
}

func (f *file) close() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.shut()
}
