package statsd

import (
	"context"

	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// way is how lines get to the server. Its owner is the queue's loop.
type way struct {
	socket outbox.Socket
	packet int    // bytes of a datagram of several lines; 0: one line each
	end    string // of each line
}

// send sends lines, several in a datagram where that is wanted.
func (w *way) send(ctx context.Context, lines [][]byte) error {
	if w.packet == 0 && w.end == "" {
		return w.socket.Send(ctx, lines)
	}
	var packets [][]byte
	var open []byte
	for _, l := range lines {
		if w.end == "" && len(open) > 0 && len(open)+1+len(l) > w.packet {
			packets, open = append(packets, open), nil
		}
		if w.end == "" && len(open) > 0 {
			open = append(open, '\n')
		}
		open = append(append(open, l...), w.end...)
	}
	if len(open) > 0 {
		packets = append(packets, open)
	}
	return w.socket.Send(ctx, packets)
}
