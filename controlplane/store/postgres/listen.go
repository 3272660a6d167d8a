package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is where a commit of any process is announced.
const channel = "seki_rev"

// relistenEvery is the time between two tries to listen again; the poll goes on meanwhile.
const relistenEvery = time.Second

// listen rings for every announcement until ctx ends. It has a connection of its own, for a
// pooled one may be shared in ways that lose announcements. An error is no news: the poll
// is the truth and its errors are the ones to see.
func (s *Store) listen(ctx context.Context, ring func()) {
	for ctx.Err() == nil {
		s.listenOnce(ctx, ring)
		select {
		case <-time.After(relistenEvery):
		case <-ctx.Done():
		}
	}
}

func (s *Store) listenOnce(ctx context.Context, ring func()) {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return
	}
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bound) // the connection is given up either way
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	ring() // for what was committed while nobody listened
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return
		}
		ring()
	}
}
