package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/ops/doctor"
)

// examine makes a checklist's checks.
func examine(ctx context.Context, c *call) error {
	f := c.flags("[--daily|--weekly|--monthly] [FLAGS]   (exit code: 0 well, 1 warning, 2 critical)")
	where := f.stackFlags()
	f.Bool("daily", true, "the checks of every day")
	weekly := f.Bool("weekly", false, "those of every week too")
	monthly := f.Bool("monthly", false, "those of every month too")
	asJSON := f.Bool("json", false, "print JSON")
	quiet := f.Bool("quiet", false, "print only what is not well")
	o := doctor.Options{Now: time.Now}
	f.StringVar(&o.Backups, "backups", "", "folder of backups")
	f.StringVar(&o.Logs, "logs", "", "folder of logs")
	f.StringVar(&o.DataDir, "data-dir", "", "data folder, to look at its disk")
	f.StringVar(&o.AlertLog, "alert-log", "/tmp/kong_alerts.log", "alert log of seki monitor")
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() != 0 {
		f.Usage()
		return errUsage
	}
	list := doctor.Daily
	switch {
	case *monthly:
		list = doctor.Monthly
	case *weekly:
		list = doctor.Weekly
	}
	var err error
	if o.Stack, o.Thresholds, err = where.read(); err != nil {
		return err
	}
	all := doctor.Examine(ctx, o, list)
	if *asJSON {
		if err := json.NewEncoder(c.out).Encode(all); err != nil {
			return err
		}
		return levelOf(doctor.Worst(all))
	}
	counts := map[string]int{}
	for _, v := range all {
		counts[v.Is]++
		if *quiet && v.Level == 0 {
			continue
		}
		fmt.Fprintf(c.out, "%-8s  %-24s %s\n", v.Is, v.Check, v.Text)
		if v.Fix != "" {
			fmt.Fprintf(c.out, "%-8s  %-24s -> %s\n", "", "", v.Fix)
		}
	}
	fmt.Fprintf(c.out, "%d checks: %d well, %d warnings, %d critical, %d with nothing to look at\n",
		len(all), counts["OK"], counts["WARNING"], counts["CRITICAL"], counts[doctor.Skipped])
	return levelOf(doctor.Worst(all))
}
