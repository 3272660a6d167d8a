package telemetry

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// routeKey names the series of a route.
type routeKey struct {
	service, route string
}

// trafficKey names the series of a route and a consumer.
type trafficKey struct {
	routeKey
	consumer string
}

// seriesShards is how many locks there are. Readers share them, so requests wait only when a
// label is new.
const seriesShards = 64

var shardSeed = maphash.MakeSeed()

// series are values by their labels, in the order in which the labels were first seen.
type series[K comparable, V any] struct {
	bound  int
	shards [seriesShards]struct {
		mu sync.RWMutex
		m  map[K]*V
	}
	mu    sync.Mutex
	order []*V
}

// get returns the value of key, made by build when it is new, or nil when there are too many.
func (s *series[K, V]) get(key K, build func(K) *V) *V {
	sh := &s.shards[maphash.Comparable(shardSeed, key)%seriesShards]
	sh.mu.RLock()
	v := sh.m[key]
	sh.mu.RUnlock()
	if v != nil {
		return v
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if v = sh.m[key]; v != nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) >= s.bound {
		return nil
	}
	v = build(key)
	if sh.m == nil {
		sh.m = map[K]*V{}
	}
	sh.m[key] = v
	s.order = append(s.order, v)
	return v
}

// all returns the values in order. They go on counting.
func (s *series[K, V]) all() []*V {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order
}

// traffic counts the answers of one route, and one consumer of it.
type traffic struct {
	routeLabels string // service="",route=""
	consumer    string // ,consumer=""
	answers     atomic.Pointer[[]*answers]
	adding      sync.Mutex
	measured    atomic.Bool // bandwidth was asked for
	ingress     atomic.Uint64
	egress      atomic.Uint64
}

// answers counts those of one status and source.
type answers struct {
	status int
	source plugin.Source
	n      atomic.Uint64
}

func newTraffic(k trafficKey) *traffic {
	return &traffic{
		routeLabels: labels(k.routeKey),
		consumer:    `,consumer="` + escape(k.consumer) + `"`,
	}
}

// answer counts one. There are few statuses, so a list is walked.
func (t *traffic) answer(status int, source plugin.Source) {
	if a := find(t.answers.Load(), status, source); a != nil {
		a.n.Add(1)
		return
	}
	t.adding.Lock()
	defer t.adding.Unlock()
	old := t.answers.Load()
	a := find(old, status, source)
	if a == nil {
		a = &answers{status: status, source: source}
		var grown []*answers
		if old != nil {
			grown = append(grown, *old...)
		}
		grown = append(grown, a)
		t.answers.Store(&grown)
	}
	a.n.Add(1)
}

func find(list *[]*answers, status int, source plugin.Source) *answers {
	if list == nil {
		return nil
	}
	for _, a := range *list {
		if a.status == status && a.source == source {
			return a
		}
	}
	return nil
}

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

func labels(k routeKey) string {
	return `service="` + escape(k.service) + `",route="` + escape(k.route) + `"`
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// escape makes a label's value. What is no UTF-8 would break the whole scrape.
func escape(s string) string { return escaper.Replace(strings.ToValidUTF8(s, "\ufffd")) }
