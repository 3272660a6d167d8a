package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// showStatus shows the installation at a glance; with --ready it only asks a process whether
// it is ready, for health checks in containers without a shell.
func showStatus(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS]")
	f.serverFlag()
	ready := f.Bool("ready", false, "only ask the status listener whether the process is ready")
	listener := f.String("status-listen", "127.0.0.1:8007", "status listener that --ready asks")
	output := f.String("output", "text", "text or json")
	if err := f.parse(); err != nil {
		return err
	}
	if *ready { // a node has no control plane beside it that could be asked more
		return askReady(ctx, c, *listener)
	}
	return f.talk(ctx, 0, 0, func(ctx context.Context, cl *client) error {
		res, err := cl.fleet.Status(ctx, &controlv1.StatusRequest{})
		if err != nil {
			return err
		}
		if *output == "json" {
			return json.NewEncoder(c.out).Encode(res)
		}
		c.printStatus(res)
		return nil
	})
}

func (c *call) printStatus(res *controlv1.StatusResponse) {
	reach := "reachable"
	if !res.GetDatabaseReachable() {
		reach = "NOT reachable"
	}
	fmt.Fprintf(c.out, "Sekifuda %s, up %s\n", res.GetVersion(), time.Since(res.GetStartedAt().AsTime()).Round(time.Second))
	fmt.Fprintf(c.out, "database   %s, %s\n", res.GetDatabase(), reach)
	fmt.Fprintf(c.out, "revision   %d (history %s)\n", res.GetHead(), res.GetEpoch())
	fmt.Fprintf(c.out, "nodes      %d connected, %d run what they should\n", res.GetNodesConnected(), res.GetNodesCurrent())
	for _, b := range res.GetBlocks() {
		fmt.Fprintf(c.out, "BLOCKED    %s %s until %s by %s because %s, on %d of %d nodes\n", b.GetKind(), b.GetName(), localTime(b), dash(b.GetBy()),
			dash(b.GetReason()), res.GetNodesBlocking(), res.GetNodesConnected())
	}
	for _, r := range res.GetReplicas() {
		answers := fmt.Sprintf("%d nodes", r.GetNodesConnected())
		if !r.GetHeard() {
			answers = "does NOT answer; its nodes are not counted"
		}
		fmt.Fprintf(c.out, "replica    %s, %s\n", r.GetAddress(), answers)
	}
	for _, kind := range slices.Sorted(maps.Keys(res.GetEntities())) {
		if n := res.GetEntities()[kind]; n > 0 {
			fmt.Fprintf(c.out, "  %-24s %d\n", kind, n)
		}
	}
}

// readyWithin bounds how long a process may take to say whether it is ready.
const readyWithin = 5 * time.Second

func askReady(ctx context.Context, c *call, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status/ready", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", raw)
	}
	fmt.Fprintln(c.out, "ready")
	return nil
}
