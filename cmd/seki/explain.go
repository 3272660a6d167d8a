package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/telemetry"
)

// explain tells why a request was refused, or which were refused last.
func explain(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [REQUEST-ID]   (the X-Kong-Request-Id of the answer; nothing: the newest refusals)")
	listeners := f.String("nodes", "127.0.0.1:8007", "status listeners of the nodes to ask, comma-separated")
	newest := f.Uint("newest", 20, "without a request id: how many")
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() > 1 {
		f.Usage()
		return errUsage
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes := strings.Split(*listeners, ",")
	if f.NArg() == 0 {
		return c.listRefusals(ctx, nodes, *newest)
	}
	return c.explainOne(ctx, nodes, f.Arg(0))
}

func (c *call) explainOne(ctx context.Context, nodes []string, id string) error {
	var failed []error
	for _, node := range nodes {
		var r telemetry.Refusal
		found, err := askRefusals(ctx, node, url.Values{"id": {id}}, &r)
		if err != nil {
			failed = append(failed, err)
		}
		if found {
			c.printRefusal(node, &r)
			return nil
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return fmt.Errorf("none of these nodes refused request %s, or so long ago that it has forgotten it; if the upstream answered, its own log knows more", id)
}

func (c *call) listRefusals(ctx context.Context, nodes []string, newest uint) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tSTATUS\tREASON\tPLUGIN\tROUTE\tCONSUMER\tCLIENT\tREQUEST\tREQUEST ID")
	for _, node := range nodes {
		var all struct{ Data []telemetry.Refusal }
		if _, err := askRefusals(ctx, node, url.Values{"n": {fmt.Sprint(newest)}}, &all); err != nil {
			return err
		}
		for _, r := range all.Data {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.Local().Format(time.DateTime), r.Status, r.Reason, dash(r.Plugin), dash(r.Route),
				dash(r.Consumer), r.Client, r.Method+" "+r.Path, r.RequestID)
		}
	}
	return w.Flush()
}

// askRefusals asks a node; found is false when it does not know.
func askRefusals(ctx context.Context, node string, q url.Values, answer any) (found bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node+"/status/refusals?"+q.Encode(), nil)
	if err != nil {
		return false, fmt.Errorf("--nodes %q: %w", node, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, fmt.Errorf("no node answers at %s (--nodes, SEKI_NODES): %w", node, err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(answer); err != nil {
			return false, fmt.Errorf("read the answer of %s: %w", node, err)
		}
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("%s answers %s", node, res.Status)
}

func (c *call) printRefusal(node string, r *telemetry.Refusal) {
	who := "the gate itself"
	if r.Plugin != "" {
		who = "plugin " + r.Plugin + " (" + r.PluginID + ")"
	}
	why, fix := meaning(r.Reason)
	fmt.Fprintf(c.out, "refused with %d by %s\n", r.Status, who)
	fmt.Fprintf(c.out, "  why       %s: %s\n", r.Reason, why)
	fmt.Fprintf(c.out, "  what next %s\n", fix)
	fmt.Fprintf(c.out, "  request   %s %s%s from %s at %s\n", r.Method, r.Host, r.Path, r.Client, r.At.Local().Format(time.DateTime))
	fmt.Fprintf(c.out, "  matched   route %s, service %s, consumer %s\n", dash(r.Route), dash(r.Service), dash(r.Consumer))
	fmt.Fprintf(c.out, "  under     revision %d, on the node at %s\n", r.Revision, node)
}
