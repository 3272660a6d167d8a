package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// keys turns over the keys of secrets at rest, and the authority of the nodes' certificates.
func keys(ctx context.Context, c *call) error {
	f := c.flags("rotate [ca] [FLAGS]")
	f.serverFlag()
	fresh := f.Bool("new-data-key", false, "rotate: make a new data key as well, for what is written from now on")
	forget := f.Bool("forget-old", false, "rotate ca: honour nothing of the old authority; every node must enrol again")
	return f.talk(ctx, 1, 2, func(ctx context.Context, cl *client) error {
		switch words := f.Args(); {
		case len(words) == 1 && words[0] == "rotate":
			return c.rotateKeys(ctx, cl, *fresh)
		case len(words) == 2 && words[0] == "rotate" && words[1] == "ca":
			return c.rotateCA(ctx, cl, *forget)
		}
		f.Usage()
		return errUsage
	})
}

func (c *call) rotateKeys(ctx context.Context, cl *client, fresh bool) error {
	res, err := cl.access.RotateKeys(ctx, &controlv1.RotateKeysRequest{NewDataKey: fresh})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "key-encryption key %s wraps all %d data keys; %d were wrapped by another one before\n",
		res.GetKeyEncryptionKey(), res.GetDataKeys(), res.GetRewrapped())
	return err
}

func (c *call) rotateCA(ctx context.Context, cl *client, forget bool) error {
	res, err := cl.access.RotateCA(ctx, &controlv1.RotateCARequest{ForgetOld: forget})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "AUTHORITY\tSIGNS\tVALID UNTIL\tHONOURED UNTIL")
	for _, a := range res.GetAuthorities() {
		kept := a.GetNotAfter()
		if a.GetKeptUntil() != nil {
			kept = a.GetKeptUntil()
		}
		fmt.Fprintf(w, "%.16s\t%t\t%s\t%s\n", a.GetDigest(), a.GetSigning(),
			a.GetNotAfter().AsTime().Local().Format(time.DateTime), kept.AsTime().Local().Format(time.DateTime))
	}
	return w.Flush()
}
