// Package filelog writes a line of JSON for every exchange to a file.
//
// It knows files; what a line holds is package logentry's. Enter at Definition.
package filelog

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the custom fields. The file is opened when there is something to write.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	custom, err := logentry.Compile(c.GetCustomFieldsByLua())
	if err != nil {
		return nil, fmt.Errorf("config.%w", err)
	}
	return &filter{path: c.GetPath(), reopen: c.GetReopen(), custom: custom, log: h.Logger()}, nil
}

type filter struct {
	path   string
	reopen bool // open the file anew for each flush
	custom *logentry.Custom
	log    *slog.Logger
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
	_ plugin.Reopener  = (*filter)(nil)
)

// OnLog appends the exchange's line to the file's buffer.
func (f *filter) OnLog(x *plugin.Exchange) {
	file := files.of(f.path)
	if file.append(func(b []byte) []byte { return append(f.custom.Append(b, x), '\n') }) {
		f.flush(file)
	}
}

// flushEvery is how long a line may wait in memory.
const flushEvery = time.Second

// Run writes what waits, every second and at the end.
func (f *filter) Run(ctx context.Context) error {
	file := files.of(f.path)
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f.flush(file)
		case <-ctx.Done():
			f.flush(file)
			return nil
		}
	}
}

// Reopen lets go of the file, so that the next line finds the one that took its place.
func (f *filter) Reopen() {
	if err := files.of(f.path).release(); err != nil {
		f.log.Warn("close log file", "path", f.path, "error", err)
	}
}

func (f *filter) flush(file *file) {
	if f.reopen {
		f.Reopen()
	}
	if dropped, err := file.flush(); err != nil {
		f.log.Error("write log file", "path", f.path, "dropped_lines", dropped, "error", err)
	}
}
