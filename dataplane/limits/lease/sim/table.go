package sim

import (
	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

func perSecond(n int64) []plugin.Window { return []plugin.Window{{Period: plugin.Second, Limit: n}} }
func perMinute(n int64) []plugin.Window { return []plugin.Window{{Period: plugin.Minute, Limit: n}} }

// Table is the workloads on which ways are compared, ten gates each.
func Table() []Workload {
	const ms, s = millisecond, second
	away := []Outage{{From: 3500 * ms, To: 6500 * ms, Gate: -1}}
	all := []Workload{
		{Name: "100/min, 2x", Windows: perMinute(100), Rate: 3.3, For: 600 * s},
		{Name: "1000/s, 0.5x", Windows: perSecond(1000), Rate: 500, For: 20 * s},
		{Name: "1000/s, 10x", Windows: perSecond(1000), Rate: 10000, For: 10 * s},
		{Name: "1000/s, 90 % on one gate, 1.5x", Windows: perSecond(1000), Rate: 1500, For: 20 * s, Skewed: true},
		{Name: "1000/s, bursty, 1x", Windows: perSecond(1000), Rate: 1000, For: 20 * s, Bursty: true},
		{Name: "1000/s, 1.5x, round trip 50 ms", Windows: perSecond(1000), Rate: 1500, For: 20 * s, RoundTrip: 50 * ms},
		{Name: "10k/min, 90 % on one gate, 1.5x", Windows: perMinute(10000), Rate: 250, For: 300 * s, Skewed: true},
		{Name: "50k/s, 1.2x", Windows: perSecond(50000), Rate: 60000, For: 5 * s},
		{Name: "100k/s, 0.5x", Windows: perSecond(100000), Rate: 50000, For: 5 * s},
		{Name: "100k/s, 1.2x", Windows: perSecond(100000), Rate: 120000, For: 5 * s},
		{Name: "100k/s, 90 % on one gate, 1.2x, round trip 50 ms", Windows: perSecond(100000), Rate: 120000, For: 5 * s, Skewed: true, RoundTrip: 50 * ms},
		{Name: "1M keys, Zipf, 6000/min, 20k/s", Windows: perMinute(6000), Rate: 20000, For: 60 * s, Keys: 1000000},
		{Name: "1000/s, 1.5x, server away 3 of 10 s", Windows: perSecond(1000), Rate: 1500, For: 10 * s, Outages: away},
		{Name: "1000/s, 90 % on one gate, 1.5x, server away 3 of 10 s", Windows: perSecond(1000), Rate: 1500, For: 10 * s, Skewed: true, Outages: away},
		{Name: "60k/min, 1.5x, a gate crashes every 5 s", Windows: perMinute(60000), Rate: 1500, For: 120 * s, CrashEach: 5 * s},
		{Name: "1000/s, 1.5x, clocks off by up to 400 ms", Windows: perSecond(1000), Rate: 1500, For: 20 * s, ClockSkew: 80 * ms},
	}
	for i := range all {
		all[i].Gates, all[i].Seed = 10, uint64(i+1)
		if all[i].RoundTrip == 0 {
			all[i].RoundTrip = ms
		}
		all[i].Rule.ExactUpTo = lease.DefaultExactUpTo
	}
	return all
}

// Ways are what a workload is run under.
func Ways(l *Workload) []Way {
	all := []Way{
		PerRequest, DeltaSync("deltas, 0.1 s", second/10), DeltaSync("deltas, 1 s", second), ShareGossip, LeaseWay("leases"),
	}
	with := func(name string, change func(*lease.Rule)) {
		all = append(all, Way{name, func(w *world) limiter {
			change(&w.load.Rule)
			return newLeases(w)
		}})
	}
	switch {
	case len(l.Outages) > 0:
		with("leases, demand_share", func(r *lease.Rule) { r.Outage = plugin.DemandShare })
	case l.CrashEach > 0:
		with("leases, reclaim", func(r *lease.Rule) { r.Reclaim = true })
	case l.Keys > 1:
		with("leases, 1 % ahead", func(r *lease.Rule) { r.Ahead = 1 })
	}
	return all
}
