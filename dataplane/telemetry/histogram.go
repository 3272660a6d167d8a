package telemetry

import "sync/atomic"

// Upper bounds in milliseconds, Kong 3.9.1's.
var (
	gateBuckets     = []int64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
	upstreamBuckets = []int64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
)

const maxBuckets = 17

// histogram counts values by upper bound; the last bucket has none.
type histogram struct {
	buckets [maxBuckets + 1]atomic.Uint64
	sum     atomic.Int64
}

func (h *histogram) observe(bounds []int64, v int64) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(v)
}
