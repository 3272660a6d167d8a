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

// maxAnswers bounds the pairs of status and source of a trafficKey: an upstream may answer any
// three digits.
const maxAnswers = 64

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

// answer counts one, or reports that there is no place for it. There are few statuses, so a
// list is walked.
func (t *traffic) answer(status int, source plugin.Source) bool {
	if a := find(t.answers.Load(), status, source); a != nil {
		a.n.Add(1)
		return true
	}
	t.adding.Lock()
	defer t.adding.Unlock()
	old := t.answers.Load()
	if a := find(old, status, source); a != nil {
		a.n.Add(1)
		return true
	}
	var grown []*answers
	if old != nil {
		grown = append(grown, *old...)
	}
	if len(grown) >= maxAnswers {
		return false
	}
	a := &answers{status: status, source: source}
	a.n.Add(1)
	grown = append(grown, a)
	t.answers.Store(&grown)
	return true
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

func labels(k routeKey) string {
	return `service="` + escape(k.service) + `",route="` + escape(k.route) + `"`
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// escape makes a label's value. What is no UTF-8 would break the whole scrape.
func escape(s string) string { return escaper.Replace(strings.ToValidUTF8(s, "\ufffd")) }
