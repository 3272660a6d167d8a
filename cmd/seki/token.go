package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// tokens makes, lists and revokes the tokens by which nodes join.
func tokens(ctx context.Context, c *call) error {
	f := c.flags("create|list|revoke ID [FLAGS]")
	f.serverFlag()
	group := f.String("group", "default", "create: the group of the nodes that join by it")
	ttl := f.Duration("ttl", 15*time.Minute, "create: how long it is good")
	uses := f.Uint("uses", 1, "create: how many nodes may join by it")
	out := f.String("out", "", "create: write the token to this file (0600) instead of printing it")
	return f.talk(ctx, 1, 2, func(ctx context.Context, cl *client) error {
		switch words := f.Args(); {
		case len(words) == 1 && words[0] == "create":
			if *uses == 0 || *ttl <= 0 {
				return errors.New("--uses and --ttl must be above 0")
			}
			return c.createToken(ctx, cl, *out, &controlv1.CreateJoinTokenRequest{Group: *group, Ttl: durationpb.New(*ttl), Uses: uint32(*uses)})
		case len(words) == 1 && words[0] == "list":
			return c.listTokens(ctx, cl)
		case len(words) == 2 && words[0] == "revoke":
			_, err := cl.access.RevokeJoinToken(ctx, &controlv1.RevokeJoinTokenRequest{Id: words[1]})
			if err == nil {
				fmt.Fprintf(c.out, "join token %s is revoked; nodes that joined by it stay\n", words[1])
			}
			return err
		}
		f.Usage()
		return errUsage
	})
}

// createToken prints the token alone, so that a script can take it; what there is to say goes
// to the other stream.
func (c *call) createToken(ctx context.Context, cl *client, file string, q *controlv1.CreateJoinTokenRequest) error {
	res, err := cl.access.CreateJoinToken(ctx, q)
	if err != nil {
		return err
	}
	t := res.GetToken()
	fmt.Fprintf(c.err, "join token %s: group %s, %d uses, until %s; it is not shown again\n",
		t.GetId(), t.GetGroup(), t.GetUses(), t.GetExpiresAt().AsTime().Local().Format(time.DateTime))
	if file != "" {
		return os.WriteFile(file, []byte(res.GetText()+"\n"), 0o600)
	}
	_, err = fmt.Fprintln(c.out, res.GetText())
	return err
}

func (c *call) listTokens(ctx context.Context, cl *client) error {
	res, err := cl.access.ListJoinTokens(ctx, &controlv1.ListJoinTokensRequest{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TOKEN\tGROUP\tUSED\tEXPIRES\tSTATE\tBY\tNODES")
	for _, t := range res.GetTokens() {
		state := "good"
		switch {
		case t.GetExpiresAt().AsTime().Before(time.Now()):
			state = "expired"
		case len(t.GetUsed()) >= int(t.GetUses()):
			state = "used up"
		}
		nodes := make([]string, len(t.GetUsed()))
		for i, u := range t.GetUsed() {
			nodes[i] = u.GetNodeId()
		}
		fmt.Fprintf(w, "%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\n", t.GetId(), t.GetGroup(), len(t.GetUsed()), t.GetUses(),
			t.GetExpiresAt().AsTime().Local().Format(time.DateTime), state, dash(t.GetCreatedBy()), dash(strings.Join(nodes, ",")))
	}
	return w.Flush()
}
