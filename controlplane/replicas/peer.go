package replicas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	maxAnswer    = 64 << 20
	answerWithin = time.Second            // of the first word of a follower
	retryAtMost  = 500 * time.Millisecond // between two tries to follow; its half at least
)

var (
	keepAlive  = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}
	connecting = grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 2 * time.Second},
		MinConnectTimeout: 2 * time.Second,
	}
)

// peer is another replica.
type peer struct {
	of     *Replicas
	id     string
	name   string
	conn   *grpc.ClientConn // nil: it cannot be reached
	client controlv1.ReplicaServiceClient
	ctx    context.Context // ends with its lease
	leave  context.CancelFunc
	again  chan struct{} // wakes follow when an answer failed
}

func (r *Replicas) newPeer(ctx context.Context, is row) *peer {
	p := &peer{of: r, id: is.id, name: cmp.Or(is.Address, "a replica without a feed ("+is.id+")"), again: make(chan struct{}, 1)}
	p.ctx, p.leave = context.WithCancel(ctx)
	if is.Address == "" {
		return p
	}
	creds := r.Credentials
	if is.Plain {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///"+is.Address, r.dialOptions(creds)...)
	if err != nil {
		r.Log.ErrorContext(ctx, "a replica cannot be asked", "replica", p.name, "error", err)
		return p
	}
	p.conn, p.client = conn, controlv1.NewReplicaServiceClient(conn)
	return p
}

// follow has the fleet count the peer's nodes, until its lease is over.
func (p *peer) follow() {
	defer p.of.Fleet.Leave(p.id)
	if p.conn == nil {
		p.of.Fleet.Miss(p.id, p.name)
		<-p.ctx.Done()
		return
	}
	defer p.conn.Close()
	failing := false
	for p.ctx.Err() == nil {
		heard, err := p.listen()
		if p.ctx.Err() != nil {
			return
		}
		// A stream that ended is one that is opened again; what was heard stands until that fails.
		if heard {
			failing = false
			continue
		}
		if errors.Is(err, errAnother) { // restarted: it has another row, and this one no nodes
			p.of.Fleet.Leave(p.id)
		} else {
			p.of.Fleet.Miss(p.id, p.name)
		}
		if !failing {
			p.of.Log.WarnContext(p.ctx, "a replica does not answer; its nodes are not counted, nor asked", "replica", p.name, "error", err)
		}
		failing = true
		select {
		case <-p.ctx.Done():
		case <-time.After(retryAtMost/2 + rand.N(retryAtMost/2)):
		}
	}
}

// errAnother says that the address leads to another process than the row is of.
var errAnother = errors.New("another control plane answers there")

// listen follows until something breaks, and reports whether it ever heard the peer.
func (p *peer) listen() (heard bool, err error) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	select { // of an answer that failed before this stream
	case <-p.again:
	default:
	}
	late := time.AfterFunc(answerWithin, cancel)
	defer late.Stop()
	s, err := p.client.Follow(ctx, &controlv1.FollowRequest{})
	if err != nil {
		return false, err
	}
	go func() {
		select {
		case <-p.again:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		res, err := s.Recv()
		if err != nil {
			return heard, err
		}
		late.Stop()
		if res.GetReplicaId() != p.id {
			return false, fmt.Errorf("%s: %w", p.name, errAnother)
		}
		heard = true
		p.of.Fleet.Hear(p.id, p.name, standings(res.GetStandings()))
	}
}

// failed notes that the peer did not answer a question: whether it is there is found out by
// following it anew, and until then it is missed.
func (p *peer) failed(err error) {
	p.of.Log.DebugContext(p.ctx, "a replica did not answer", "replica", p.name, "error", err)
	p.of.Fleet.Miss(p.id, p.name)
	select {
	case p.again <- struct{}{}:
	default:
	}
}

func standings(list []*controlv1.Standing) map[fleet.Standing]int {
	all := make(map[fleet.Standing]int, len(list))
	for _, s := range list {
		all[fleet.Standing{
			Epoch: s.GetEpoch(), Group: s.GetGroup(), Generation: s.GetGeneration(), Enforced: s.GetEnforced(),
			Current: s.GetCurrent(), RefusedEpoch: s.GetRefusedEpoch(), Refused: s.GetRefused(),
			Blocks: s.GetBlocks(), Blocking: s.Blocks != nil,
		}] += int(s.GetNodes())
	}
	return all
}
