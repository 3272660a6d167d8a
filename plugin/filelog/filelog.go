// Package filelog writes an entry of every exchange to a file, one line each.
//
// It knows files, and that instances of one path share one; what is in an entry is package
// logentry's. Enter at Definition.
package filelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// flushEvery is how long a line may wait to be written.
const flushEvery = time.Second

var filename = regexp.MustCompile("^[^*&%\\\\`]+$")

// New checks the path and the fields. The file is opened when there is something to write.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if c.GetPath() == "" {
		return nil, errors.New("config.path: required field missing")
	}
	if !filename.MatchString(c.GetPath()) {
		return nil, errors.New("config.path: not a valid filename")
	}
	fields, err := logentry.Compile(c.GetCustomFieldsByLua(), h)
	if err != nil {
		return nil, err
	}
	return &filter{path: c.GetPath(), reopen: c.GetReopen(), fields: fields, log: h.Logger(), every: flushEvery}, nil
}

type filter struct {
	path   string
	reopen bool
	fields *logentry.Fields
	log    *slog.Logger
	every  time.Duration

	once sync.Once
	file *file
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
	_ plugin.Reopener  = (*filter)(nil)
)

// shared returns the file of the path. It is taken on first use, since New is also called
// where nothing is ever logged.
func (f *filter) shared() *file {
	f.once.Do(func() { f.file = files.take(f.path, f.reopen, f.log) })
	return f.file
}

// lines holds buffers for one entry each; few are longer than what they begin with.
var lines = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// OnLog puts the entry into the file's buffer.
func (f *filter) OnLog(x *plugin.Exchange) {
	line := lines.Get().(*[]byte)
	entry, err := f.fields.Append((*line)[:0], x)
	if err != nil {
		f.log.Warn("render log entry", "plugin", "file-log", "error", err)
	}
	*line = append(entry, '\n')
	f.shared().append(*line)
	lines.Put(line)
}

// Run writes what is buffered: when there is enough, after a second at most, and at the end.
func (f *filter) Run(ctx context.Context) error {
	file := f.shared()
	defer files.drop(file)
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := file.flush(); err != nil {
				return fmt.Errorf("write the last log lines: %w", err)
			}
			return nil
		case <-tick.C:
		case <-file.full:
		}
		_ = file.flush() // logged there; the lines are kept
	}
}

// Reopen implements plugin.Reopener: the next line goes to the file that then has the path.
func (f *filter) Reopen() { f.shared().rotate() }
