package ops

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Series are the samples of one scrape, by name and then by the text of their labels.
type Series map[string]map[string]float64

// scrape reads a node's metrics.
func (s *Stack) scrape(ctx context.Context, node string) (Series, error) {
	status, body, _, err := s.Get(ctx, node+"/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %d", status)
	}
	return parseSeries(body)
}

// parseSeries reads the text format as our nodes write it: a sample a line, without times.
func parseSeries(text []byte) (Series, error) {
	all := Series{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("%q is no sample", line)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no sample", line)
		}
		name, labels, _ := strings.Cut(line[:at], "{")
		if all[name] == nil {
			all[name] = map[string]float64{}
		}
		all[name][strings.TrimSuffix(labels, "}")] = v
	}
	return all, lines.Err()
}

// Has reports whether there is a sample of the name.
func (s Series) Has(name string) bool { return len(s[name]) > 0 }

// Sum adds up the samples of a name whose labels match.
func (s Series) Sum(name string, match func(labels string) bool) (v float64) {
	for labels, n := range s[name] {
		if match(labels) {
			v += n
		}
	}
	return v
}

const latencies = "kong_request_latency_ms_bucket"

// quantile is the upper bound of the bucket in which the q-th part of the requests between two
// readings was.
func quantile(r, before *Reading, q float64) (float64, bool) {
	counts := map[float64]float64{}
	for sign, reading := range map[float64]*Reading{1: r, -1: before} {
		for _, n := range reading.Nodes {
			for labels, v := range n[latencies] {
				counts[bound(labels)] += sign * v
			}
		}
	}
	type bucket struct{ le, n float64 }
	var all []bucket
	for le, n := range counts {
		all = append(all, bucket{le, n})
	}
	slices.SortFunc(all, func(a, b bucket) int { return cmp.Compare(a.le, b.le) })
	if len(all) == 0 || all[len(all)-1].n <= 0 {
		return 0, false
	}
	total := all[len(all)-1].n
	for i, b := range all {
		if b.n >= q*total {
			if math.IsInf(b.le, 1) && i > 0 {
				return all[i-1].le, true // above the last bound; more is not known
			}
			return b.le, true
		}
	}
	return 0, false
}

func bound(labels string) float64 {
	_, rest, _ := strings.Cut(labels, `le="`)
	text, _, _ := strings.Cut(rest, `"`)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.Inf(1)
	}
	return v
}
