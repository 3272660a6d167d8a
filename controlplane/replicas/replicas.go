// Package replicas lets the control planes on one database know each other, and ask each other
// for what only the nodes that are connected there know.
//
// It knows addresses, leases and how nodes stand; it does not know configuration or what the
// questions mean. Each replica keeps a row in the database while it lives, follows how the nodes
// of the others stand (which the fleet counts with its own), and passes questions on. What one
// does not answer in time is left out and named: fleet.Unheard. Enter at New.
package replicas

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Times. A replica that was killed is missed by who asks until its lease is over, and forgotten
// then; it takes its row along when it ends in order.
const (
	leaseFor   = 10 * time.Second
	beatEvery  = 2 * time.Second
	beatWithin = 2 * time.Second
	sweepAfter = 10 * time.Minute // others' rows that were left behind
)

// Store is what replicas know each other by.
type Store interface {
	store.Records
	// Now is a clock that all replicas share.
	Now(ctx context.Context) (time.Time, error)
}

// Options are what replicas are made of.
type Options struct {
	Store Store
	Fleet *fleet.Fleet
	// Address is where the others reach this one's feed; empty: they cannot.
	Address string
	// Plain says that the feed speaks without TLS, on loopback.
	Plain bool
	// Credentials prove both ends to be of this cluster, where the other one is not Plain.
	Credentials credentials.TransportCredentials
	// Secret is known to the cluster's control planes alone.
	Secret []byte
	// SetLogLevel changes how much this process logs; d 0: for good.
	SetLogLevel func(level string, d time.Duration) error
	// Carrier takes calls of the Admin API from one replica to another; nil: none are taken.
	Carrier Carrier
	Version string
	Every   time.Duration // between looks at who is there; 0: 2 s
	Log     *slog.Logger
}

// Replicas are the control planes on one database as this one sees them. All methods may be
// called concurrently.
type Replicas struct {
	Options
	id      string // of this process
	version uint64 // of its row; of beat's loop alone

	mu    sync.Mutex
	peers map[string]*peer
}

// New returns replicas that know nobody yet.
func New(o Options) *Replicas {
	if o.Every == 0 {
		o.Every = beatEvery
	}
	return &Replicas{Options: o, id: uuid.NewString(), peers: map[string]*peer{}}
}

// Run keeps this replica's row and follows the others, until ctx ends. An outage of the database
// leaves things as they were.
func (r *Replicas) Run(ctx context.Context) error {
	var followers sync.WaitGroup
	defer followers.Wait()
	defer r.farewell(ctx)
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	failing := false
	for {
		err := r.beat(ctx, func(p *peer) {
			followers.Go(func() { p.follow() })
		})
		if err != nil && !failing && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "the other replicas are not looked for; those that are known stay so", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// beat renews this replica's row and looks who else is there; start is called for each that is new.
func (r *Replicas) beat(ctx context.Context, start func(*peer)) error {
	bound, cancel := context.WithTimeout(ctx, beatWithin)
	defer cancel()
	now, err := r.Store.Now(bound)
	if err != nil {
		return err
	}
	if err := r.renew(bound, now); err != nil {
		return err
	}
	rows, err := r.rows(bound)
	if err != nil {
		return err
	}
	r.meet(ctx, rows, now, start)
	return r.sweep(bound, rows, now)
}

// meet makes the peers those that have a lease.
func (r *Replicas) meet(ctx context.Context, rows []row, now time.Time, start func(*peer)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	here := map[string]bool{}
	for _, is := range rows {
		if is.id == r.id || now.Sub(is.At) > leaseFor {
			continue
		}
		here[is.id] = true
		if r.peers[is.id] != nil {
			continue
		}
		p := r.newPeer(ctx, is)
		r.peers[is.id] = p
		r.Log.InfoContext(ctx, "another replica is there", "replica", p.name, "version", is.Version)
		start(p)
	}
	for id, p := range r.peers {
		if !here[id] {
			delete(r.peers, id)
			p.leave()
			r.Log.InfoContext(ctx, "a replica is gone", "replica", p.name)
		}
	}
}

// others are the replicas to ask.
func (r *Replicas) others() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*peer, 0, len(r.peers))
	for _, p := range r.peers {
		all = append(all, p)
	}
	return all
}

// farewell takes this replica's row away, and all peers with it.
func (r *Replicas) farewell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatWithin)
	defer cancel()
	if err := r.remove(ctx); err != nil {
		r.Log.DebugContext(ctx, "the replica's row stays until its lease is over", "error", err)
	}
	r.meet(ctx, nil, time.Time{}, nil)
}

// dialOptions are those of connections to a replica.
func (r *Replicas) dialOptions(creds credentials.TransportCredentials) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(bearer(r.Secret)), grpc.WithUserAgent("seki/" + r.Version),
		grpc.WithKeepaliveParams(keepAlive), grpc.WithConnectParams(connecting),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	}
}
