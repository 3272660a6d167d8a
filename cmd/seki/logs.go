package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Kong's log levels on slog's scale.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo + 2, "warn": slog.LevelWarn,
	"error": slog.LevelError, "crit": slog.LevelError + 4, "alert": slog.LevelError + 8, "emerg": slog.LevelError + 12,
}

// logLevel is the process's level, which can be changed while it runs.
type logLevel struct {
	level slog.LevelVar

	mu    sync.Mutex // guards what follows
	word  string
	undo  *time.Timer // puts an earlier level back
	start string
}

func newLogLevel(word string) (*logLevel, error) {
	l := &logLevel{start: word}
	level, ok := levels[word]
	if !ok {
		return nil, fmt.Errorf("--log-level %q: expected debug, info, notice, warn, error, crit, alert or emerg", word)
	}
	l.word = word
	l.level.Set(level)
	return l, nil
}

// Word is the present level in Kong's words.
func (l *logLevel) Word() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.word
}

// Set changes the level; after d, when it is not 0, the one from the start comes back.
func (l *logLevel) Set(word string, d time.Duration) error {
	level, ok := levels[word]
	if !ok {
		return fmt.Errorf("unknown log level: %s", word)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.undo != nil {
		l.undo.Stop()
		l.undo = nil
	}
	l.word = word
	l.level.Set(level)
	if d > 0 && word != l.start {
		l.undo = time.AfterFunc(d, func() { _ = l.Set(l.start, 0) })
	}
	return nil
}

func newLogger(w io.Writer, format string, l *logLevel) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: &l.level, ReplaceAttr: levelWords}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: expected text or json", format)
}

// levelWords shows a level by Kong's word.
func levelWords(_ []string, a slog.Attr) slog.Attr {
	if a.Key != slog.LevelKey {
		return a
	}
	level, _ := a.Value.Any().(slog.Level)
	for word, l := range levels {
		if l == level {
			return slog.String(slog.LevelKey, word)
		}
	}
	return a
}

// notice logs at Kong's default level.
func notice(ctx context.Context, log *slog.Logger, msg string, args ...any) {
	log.Log(ctx, levels["notice"], msg, args...)
}
