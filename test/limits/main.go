// Command limits prints how ways to limit compare in the simulator: what is admitted above the
// limit, what is refused wrongly, how often the server is asked and how long requests wait.
// The leases are the production code.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease/sim"
)

func main() {
	if text := os.Getenv(gateVariable); text != "" {
		if err := beGate(text, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "run workloads whose name contains this")
	mine := flag.Bool("leases", false, "run leases only")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "limits: unexpected arguments")
		os.Exit(2)
	}
	fmt.Println("| workload | way | over % | worst window % | false refusals % | calls per request | p50 ms | p99 ms | server busy % |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, l := range sim.Table() {
		if !strings.Contains(l.Name, *only) {
			continue
		}
		for _, way := range sim.Ways(&l) {
			if *mine && !strings.Contains(way.Name, "lease") {
				continue
			}
			r := sim.Run(l, way)
			fmt.Printf("| %s | %s | %.2f | %.2f | %.2f | %.4f | %.2f | %.2f | %.1f |\n",
				l.Name, way.Name, r.Over, r.WorstOver, r.FalseRefusals, r.CallsPerRequest, r.P50, r.P99, r.Busy)
		}
	}
}
