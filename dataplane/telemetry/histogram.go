package telemetry

import (
	"strconv"
	"sync/atomic"
)

// latency holds the three histograms of one route.
type latency struct {
	labels                  string
	gate, upstream, request histogram
}

func newLatency(k routeKey) *latency {
	l := &latency{labels: labels(k) + `,workspace="default"`}
	l.gate.bounds, l.upstream.bounds, l.request.bounds = gateBounds, upstreamBounds, upstreamBounds
	return l
}

// Kong's buckets, in milliseconds.
var (
	gateBounds     = []int64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
	upstreamBounds = []int64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
)

// mostBounds is the length of the longer list.
const mostBounds = 17

// histogram counts values by the first bound that they do not exceed.
type histogram struct {
	bounds []int64
	counts [mostBounds + 1]atomic.Uint64 // the last one: above all bounds
	sum    atomic.Int64
}

func (h *histogram) observe(ms int64) {
	i := 0
	for i < len(h.bounds) && ms > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(ms)
}

// append writes the buckets, cumulative, and their sum. A histogram without values is left
// out, as a series that Kong never made.
func (h *histogram) append(b []byte, name, labels string) []byte {
	begin := len(b)
	var n uint64
	for i := 0; i <= len(h.bounds); i++ {
		n += h.counts[i].Load()
		b = append(append(append(b, name...), "_bucket{"...), labels...)
		b = append(b, `,le="`...)
		if i < len(h.bounds) {
			b = strconv.AppendInt(b, h.bounds[i], 10)
		} else {
			b = append(b, "+Inf"...)
		}
		b = append(strconv.AppendUint(append(b, `"} `...), n, 10), '\n')
	}
	if n == 0 {
		return b[:begin]
	}
	b = append(append(append(append(b, name...), "_count{"...), labels...), "} "...)
	b = append(strconv.AppendUint(b, n, 10), '\n')
	b = append(append(append(append(b, name...), "_sum{"...), labels...), "} "...)
	return append(strconv.AppendInt(b, h.sum.Load(), 10), '\n')
}
