// Command bench compares the CPU time that a proxied request costs the gateway, nginx and
// net/http's ReverseProxy, side by side in one run.
//
// The proxy under test is pinned to one core and uses one thread; the load and the upstream
// share another core. CPU per request is the growth of user and system time of the proxy's
// processes divided by completed requests. Rounds are interleaved A B C ... C B A; medians
// and ranges are printed, and the raw data is kept in test/bench/results. The second nginx is
// the negative control: its ratio to the first one is the noise of this run.
//
// Cases: as fast as answers come; at a fixed rate; over kept connections of TLS 1.3; a whole
// handshake for each request; answers of a megabyte.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "serve-") {
		serve(os.Args[1], os.Args[2:])
		return
	}
	rounds := flag.Int("rounds", 5, "counted rounds")
	seconds := flag.Int("seconds", 2, "seconds of load a candidate and round")
	connections := flag.Int("connections", 64, "keep-alive connections")
	rate := flag.Int("rate", 4000, "requests a second of the moderate case; 0 leaves it out")
	only := flag.String("only", "", "comma-separated candidates")
	before := flag.String("before", "", "another binary of the gateway, measured beside the one of this tree")
	profile := flag.String("profile", "", "folder for CPU profiles of the gateway, which are then all that is kept")
	hold := flag.Bool("hold", false, "start the candidates, print where they are and wait, for a profiler")
	cases := flag.String("cases", "", "comma-separated cases; all without")
	note := flag.String("note", "", "kept with the results")
	flag.Parse()
	dir, err := os.MkdirTemp("", "seki-bench-")
	if err != nil {
		log.Fatalf("bench: %v", err)
	}
	b := &bench{dir: dir, before: *before, profile: *profile}
	if *hold {
		err = b.hold(*only)
	} else {
		err = b.run(*rounds, *seconds, *connections, *rate, *only, *cases, *note)
	}
	b.stop()
	os.RemoveAll(dir)
	if err != nil {
		log.Fatalf("bench: %v", err)
	}
}

// hold keeps the candidates running until it is interrupted.
func (b *bench) hold(only string) error {
	list, err := b.start(only)
	if err != nil {
		return err
	}
	for _, c := range list {
		fmt.Printf("%d %s %s\n", c.pid, c.url, c.name)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

// sample is one measurement.
type sample struct {
	Case      string  `json:"case"`
	Candidate string  `json:"candidate"`
	Round     int     `json:"round"`
	Requests  int64   `json:"requests"`
	CPU       float64 `json:"cpu_us_per_request"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	Errors    int64   `json:"errors"`
}

func (b *bench) run(rounds, seconds, connections, rate int, only, wanted, note string) error {
	candidates, err := b.start(only)
	if err != nil {
		return err
	}
	var samples []sample
	cases := loads(connections, rate, time.Duration(seconds)*time.Second, wanted)
	for _, l := range cases {
		for round := range rounds + 1 { // the first one warms up
			order := append([]*candidate(nil), candidates...)
			if round%2 == 1 {
				for i, j := 0, len(order)-1; i < j; i, j = i+1, j-1 {
					order[i], order[j] = order[j], order[i]
				}
			}
			for _, c := range order {
				if l.of(c) == "" {
					continue
				}
				s, err := b.measure(c, l)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", l.name, c.name, err)
				}
				s.Round = round
				if round > 0 {
					samples = append(samples, s)
				}
			}
		}
	}
	report(samples, candidates, cases)
	if b.profile != "" { // what is profiled is slower: no figures of it are kept
		return nil
	}
	return keep(samples, note)
}

// loads are the cases that are wanted, in the order in which they are run.
func loads(connections, rate int, d time.Duration, wanted string) []load {
	all := []load{
		{name: "saturated", connections: connections},
		{name: fmt.Sprintf("%d/s", rate), connections: connections, rate: rate},
		{name: "tls", connections: connections, secure: true},
		{name: "tls-handshakes", connections: connections / 4, secure: true, fresh: true},
		{name: "megabyte", connections: connections / 8, path: "mb"},
	}
	for i := range all {
		all[i].duration = d
	}
	return slices.DeleteFunc(all, func(l load) bool {
		return strings.HasPrefix(l.name, "0/") || wanted != "" && !strings.Contains(","+wanted+",", ","+l.name+",")
	})
}

func report(samples []sample, candidates []*candidate, cases []load) {
	for _, l := range cases {
		fmt.Printf("\n%s, %d connections\n%-34s %28s %22s %12s %12s\n", l.name, l.connections,
			"candidate", "CPU us/request (min-max)", "x nginx (min-max)", "p50 us", "p99 us")
		base := byRound(samples, l.name, "nginx")
		for _, c := range candidates {
			if l.of(c) == "" {
				continue
			}
			var cpu, ratio, p50, p99 []float64
			for round, s := range byRound(samples, l.name, c.name) {
				cpu = append(cpu, s.CPU)
				p50, p99 = append(p50, s.P50), append(p99, s.P99)
				if n, ok := base[round]; ok {
					ratio = append(ratio, s.CPU/n.CPU)
				}
			}
			fmt.Printf("%-34s %10.1f (%6.1f-%6.1f) %10.2f (%4.2f-%4.2f) %12.0f %12.0f\n", c.name,
				median(cpu), least(cpu), most(cpu), median(ratio), least(ratio), most(ratio), median(p50), median(p99))
		}
	}
}

func byRound(samples []sample, name, candidate string) map[int]sample {
	m := map[int]sample{}
	for _, s := range samples {
		if s.Case == name && s.Candidate == candidate {
			m[s.Round] = s
		}
	}
	return m
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sort.Float64s(v)
	return v[len(v)/2]
}

func least(v []float64) float64 { sort.Float64s(v); return v[0] }
func most(v []float64) float64  { sort.Float64s(v); return v[len(v)-1] }

func keep(samples []sample, note string) error {
	name := filepath.Join("test", "bench", "results", time.Now().UTC().Format("2006-01-02T150405")+".json")
	raw, err := json.MarshalIndent(map[string]any{"at": time.Now().UTC(), "note": note, "samples": samples}, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, append(raw, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nraw data: %s\n", name)
	return nil
}
