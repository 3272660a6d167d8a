package publish

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait after so many failures in a row: between 100 ms and a bound
// that doubles up to 5 s, at random, so that replicas do not return to a database together.
func backoff(failed int) time.Duration {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	bound := min(least<<min(failed, 10), most)
	return least + rand.N(bound-least)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
