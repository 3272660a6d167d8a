package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// nodes lists the nodes and what they enforce, and decides who stays.
func nodes(ctx context.Context, c *call) error {
	f := c.flags("[list|identities|revoke ID|allow ID] [FLAGS]")
	f.serverFlag()
	reason := f.String("reason", "", "revoke: why; the node is told")
	return f.talk(ctx, 0, 2, func(ctx context.Context, cl *client) error {
		switch words := f.Args(); {
		case len(words) == 0, len(words) == 1 && words[0] == "list":
			return c.listNodes(ctx, cl)
		case len(words) == 1 && words[0] == "identities":
			return c.listIdentities(ctx, cl)
		case len(words) == 2 && words[0] == "revoke":
			return c.revokeNode(ctx, cl, words[1], *reason)
		case len(words) == 2 && words[0] == "allow":
			_, err := cl.access.AllowNode(ctx, &controlv1.AllowNodeRequest{NodeId: words[1]})
			if err == nil {
				fmt.Fprintf(c.out, "node %s may connect again\n", words[1])
			}
			return err
		}
		f.Usage()
		return errUsage
	})
}

func (c *call) revokeNode(ctx context.Context, cl *client, id, reason string) error {
	res, err := cl.access.RevokeNode(ctx, &controlv1.RevokeNodeRequest{NodeId: id, Reason: reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "node %s is revoked, %d of its connections were cut here; other control planes follow within a second\n",
		id, res.GetConnections())
	return err
}

func (c *call) listNodes(ctx context.Context, cl *client) error {
	res, err := cl.fleet.ListNodes(ctx, &controlv1.ListNodesRequest{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tGROUP\tADDRESS\tCONNECTED\tAT\tREVISION\tTARGET\tON DISK\tCLOCK\tLAST SEEN\tREFUSED")
	for _, n := range res.GetNodes() {
		refused := "-"
		if r := n.GetRefusal(); r != nil && len(r.GetViolations()) > 0 {
			v := r.GetViolations()[0]
			refused = v.GetObject() + ": " + v.GetReason()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%t\t%s\t%d\t%d\t%t\t%s\t%s\t%s\n", n.GetId(), dash(n.GetGroup()), dash(n.GetIp()), n.GetConnected(), cmp.Or(n.GetReplica(), "here"),
			n.GetRunning().GetStagedRev(), n.GetTarget().GetStagedRev(), n.GetOnDisk(), skew(n), n.GetLastSeen().AsTime().Local().Format(time.DateTime), refused)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return unheard(res.GetUnheard(), "its nodes are not in the list")
}

// unheard is the error of an answer that leaves out control planes that did not answer, after what
// it says was printed; what tells what that means.
func unheard(names []string, what string) error {
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("control plane %s does not answer: %s", strings.Join(names, ", "), what)
}

// skew tells how wrong a node's clock is. Less than a second may be the way of the report.
func skew(n *controlv1.Node) string {
	d := n.GetClockSkew().AsDuration().Round(time.Second)
	if d == 0 {
		return "ok"
	}
	return fmt.Sprintf("%+gs", d.Seconds())
}

func (c *call) listIdentities(ctx context.Context, cl *client) error {
	res, err := cl.access.ListIdentities(ctx, &controlv1.ListIdentitiesRequest{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tGROUP\tENROLLED\tBY TOKEN\tCERTIFICATE UNTIL\tREVOKED")
	for _, n := range res.GetIdentities() {
		revoked := "-"
		if r := n.GetRevocation(); r != nil {
			revoked = fmt.Sprintf("%s by %s %s", r.GetAt().AsTime().Local().Format(time.DateTime), r.GetBy(), r.GetReason())
		}
		enrolled, expires := "-", "-"
		if n.GetEnrolledAt() != nil {
			enrolled, expires = n.GetEnrolledAt().AsTime().Local().Format(time.DateTime), n.GetExpiresAt().AsTime().Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", n.GetNodeId(), dash(n.GetGroup()), enrolled, dash(n.GetTokenId()), expires, revoked)
	}
	return w.Flush()
}
