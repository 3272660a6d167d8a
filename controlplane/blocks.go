package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/block"
	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// blockable are the kinds of entities by which each kind of block is found. Who is called by a
// key may be so in several ways.
var blockable = map[string][]string{
	"consumer": {"consumers"},
	"route":    {"routes"},
	"service":  {"services"},
	"key":      {"keyauth_credentials", "jwt_secrets", "hmacauth_credentials", "basicauth_credentials", "oauth2_credentials"},
}

// find introduces entities to the desk of blocks.
func find(c *config.Config) block.Find {
	return func(ctx context.Context, kind, name string) (id, label string, err error) {
		for _, k := range blockable[kind] {
			t := c.Schema().Table(k)
			if t == nil {
				continue
			}
			e, err := c.Get(ctx, t, name, nil)
			var f *fault.Error
			if fault.Is(err, fault.NotFound) || errors.As(err, &f) && f.Kind == fault.SchemaViolation {
				continue
			}
			if err != nil {
				return "", "", err
			}
			if kind == "key" {
				return e.ID, e.ID, nil // what it is found by is a secret
			}
			return e.ID, cmp.Or(t.EndpointValue(e.Message), e.ID), nil
		}
		if kind == "key" {
			return "", "", &fault.Error{Kind: fault.NotFound, Message: "no credential has this id or key"}
		}
		return "", "", &fault.Error{Kind: fault.NotFound, Message: fmt.Sprintf("no %s is called %q", kind, name)}
	}
}

// blocks serves the desk of blocks to the Admin API.
type blocks struct {
	*block.Desk
	fleet *fleet.Fleet
}

// Block implements adminapi.Blocks.
func (b blocks) Block(ctx context.Context, kind, target string, lifetime time.Duration, by, reason, from string, force bool) (*controlv1.Block, error) {
	return b.Desk.Block(ctx, block.Order{Kind: kind, Target: target, For: lifetime, By: by, Reason: reason, From: from, Force: force})
}

// Unblock implements adminapi.Blocks.
func (b blocks) Unblock(ctx context.Context, kind, target string) error {
	_, err := b.Desk.Unblock(ctx, kind, target)
	return err
}

// Enforced implements adminapi.Blocks.
func (b blocks) Enforced(ctx context.Context) { b.fleet.WaitBlocking(ctx, b.Digest()) }
