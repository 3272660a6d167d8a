package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/all"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// callTimeout bounds one call to the control plane.
const callTimeout = 30 * time.Second

// client speaks to a control plane.
type client struct {
	config  controlv1.ConfigServiceClient
	fleet   controlv1.FleetServiceClient
	rollout controlv1.RolloutServiceClient
	access  controlv1.AccessServiceClient
	blocks  controlv1.BlockServiceClient
	store   controlv1.StoreServiceClient
	schema  *schema.Schema
	addr    string
	conn    *grpc.ClientConn
}

// serverFlag adds --server and --token-file, for talk.
func (f *flags) serverFlag() {
	f.server = f.String("server", "127.0.0.1:8006", "gRPC address of the control plane")
	f.tlsFlags()
	f.tokenFlag()
}

// tokenFlag adds --token-file.
func (f *flags) tokenFlag() {
	f.tokenFile = f.String("token-file", "", "file with the token of who asks, where the control plane wants one; SEKI_TOKEN may hold it instead")
}

// authorized shows who asks, by the token that the operator gave.
func (f *flags) authorized(ctx context.Context) (context.Context, error) {
	token, err := f.token()
	if err != nil || token == "" {
		return ctx, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

// waitFlag adds --wait, for talk and for asking that nodes enforce what is written.
func (f *flags) waitFlag() {
	f.wait = f.Duration("wait", 10*time.Second, "how long to wait until all nodes enforce it; 0: not at all")
}

// waiting is what --wait asks of a control plane.
func (f *flags) waiting() *controlv1.Wait {
	if f.wait == nil || *f.wait <= 0 {
		return nil
	}
	return &controlv1.Wait{Fraction: 1, Timeout: durationpb.New(*f.wait)}
}

// talk reads the command line, which must have least to most arguments, and lets do speak to
// the control plane that it names.
func (f *flags) talk(ctx context.Context, least, most int, do func(context.Context, *client) error) error {
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() < least || f.NArg() > most {
		f.Usage()
		return errUsage
	}
	creds, err := f.credentials()
	if err != nil {
		return err
	}
	cl, err := dial(*f.server, creds)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	patience := cmp.Or(f.calls, callTimeout)
	if f.wait != nil {
		patience += *f.wait
	}
	ctx, cancel := context.WithTimeout(withActor(ctx), patience)
	defer cancel()
	if ctx, err = f.authorized(ctx); err != nil {
		return err
	}
	if err := cl.learn(ctx); err != nil {
		return cl.explain(err)
	}
	return cl.explain(do(ctx, cl))
}

// learn asks the control plane for the language of its routes, so that entities are read and
// shown as it has them.
func (c *client) learn(ctx context.Context) error {
	st, err := c.fleet.Status(ctx, &controlv1.StatusRequest{})
	if err == nil {
		_, c.schema, err = build(cmp.Or(st.RouterFlavor, model.TraditionalCompatible))
	}
	return err
}

func dial(addr string, creds credentials.TransportCredentials) (*client, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent("seki/"+version), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, fmt.Errorf("--server %q: %w", addr, err)
	}
	return &client{
		config: controlv1.NewConfigServiceClient(conn), fleet: controlv1.NewFleetServiceClient(conn),
		rollout: controlv1.NewRolloutServiceClient(conn), access: controlv1.NewAccessServiceClient(conn),
		blocks: controlv1.NewBlockServiceClient(conn), store: controlv1.NewStoreServiceClient(conn),
		addr: addr, conn: conn,
	}, nil
}

// build loads the plugins and tables of this binary.
func build(routerFlavor string) (*plugin.Set, *schema.Schema, error) {
	plugins, err := plugin.Load(all.Definitions()...)
	if err != nil {
		return nil, nil, err
	}
	schemas := make([]*schema.Plugin, 0, len(plugins.All()))
	for _, p := range plugins.All() {
		schemas = append(schemas, p.Plugin)
	}
	s, err := model.NewFlavored(routerFlavor, schemas)
	if err != nil {
		return nil, nil, err
	}
	return plugins, s, nil
}

// withActor names who asks: the user of this machine.
func withActor(ctx context.Context) context.Context {
	if u, err := user.Current(); err == nil {
		return metadata.AppendToOutgoingContext(ctx, "sekifuda-actor", u.Username)
	}
	return ctx
}

// explain puts an error of a call into a sentence for the operator.
func (c *client) explain(err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	if st.Code() == codes.Unavailable && strings.Contains(st.Message(), "connection") {
		return fmt.Errorf("no control plane answers at %s (--server, SEKI_SERVER): %s", c.addr, st.Message())
	}
	return errors.New(st.Message())
}

// table finds a kind by its name or its path.
func (c *client) table(kind string) (*schema.Table, error) {
	if t := c.schema.Table(kind); t != nil {
		return t, nil
	}
	names := make([]string, 0, len(c.schema.Tables()))
	for _, t := range c.schema.Tables() {
		if t.Path == kind || t.NestedPath == kind {
			return t, nil
		}
		names = append(names, t.Kind)
	}
	return nil, fmt.Errorf("no kind named %q; there are %s", kind, strings.Join(names, ", "))
}

// entities reads every entity of a kind.
func (c *client) entities(ctx context.Context, req *controlv1.ListRequest) ([]*controlv1.Entity, error) {
	req.PageSize = 1000
	var list []*controlv1.Entity
	for {
		res, err := c.config.List(ctx, req)
		if err != nil {
			return nil, c.explain(err)
		}
		list = append(list, res.GetEntities()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return list, nil
		}
	}
}

// existing lends a control plane's entities to a document's plan.
type existing struct {
	ctx context.Context
	*client
}

func (e existing) Entities(kind string) ([]proto.Message, error) {
	list, err := e.client.entities(e.ctx, &controlv1.ListRequest{Kind: kind})
	if err != nil {
		return nil, err
	}
	messages := make([]proto.Message, len(list))
	for i, x := range list {
		if messages[i], err = x.GetSpec().UnmarshalNew(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, x.GetId(), err)
		}
	}
	return messages, nil
}
