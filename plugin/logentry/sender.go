package logentry

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Sender queues entries for a server. It is safe for concurrent use; Run is called once.
type Sender struct {
	fields *Fields
	log    *slog.Logger
	queue  *outbox.Queue
}

// NewSender returns the sender of a plugin. chunks are its custom_fields_by_lua; batch is how
// many entries are sent together at most.
func NewSender(name string, chunks map[string]string, batch int, h plugin.Host) (*Sender, error) {
	fields, err := Compile(chunks, h)
	if err != nil {
		return nil, err
	}
	bounds := outbox.Settings{Entries: outbox.DefaultEntries, Bytes: outbox.DefaultBytes, Batch: batch}
	return &Sender{fields: fields, log: h.Logger(), queue: outbox.New(bounds, h.Logger().With("plugin", name))}, nil
}

// Add queues the entry of x between head and tail, which may be nil.
func (s *Sender) Add(x *plugin.Exchange, head func(b []byte) []byte, tail string) {
	s.queue.Add(func(b []byte) []byte {
		if head != nil {
			b = head(b)
		}
		return append(s.fields.AppendLogged(b, x, s.log), tail...)
	})
}

// Run sends what is queued until ctx ends, and then what is left.
func (s *Sender) Run(ctx context.Context, send func(ctx context.Context, batch [][]byte) error) {
	s.queue.Run(ctx, send)
}

// Address joins config.host and config.port.
func Address(host string, port int64) (string, error) {
	if host == "" {
		return "", fmt.Errorf("config.host: required field missing")
	}
	if port < 1 || port > 65535 {
		return "", fmt.Errorf("config.port: %d is no port", port)
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10)), nil
}
