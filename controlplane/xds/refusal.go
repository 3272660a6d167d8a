package xds

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

const (
	maxRefused     = 8      // revisions remembered of one node; it refuses again what is forgotten
	maxRefusers    = 10_000 // nodes remembered, ten times the fleet that a replica is made for
	maxRefusalsMsg = 32     // refusals read of one request
	maxViolations  = 100    // objects remembered of one refusal
)

// refusalsOf reads the refusals in the error of a request.
func refusalsOf(e *rpcstatus.Status) []*feedv1.Refusal {
	var all []*feedv1.Refusal
	for _, d := range e.GetDetails() {
		r := new(feedv1.Refusal)
		if d.UnmarshalTo(r) == nil {
			r.Violations = r.Violations[:min(len(r.Violations), maxViolations)]
			all = append(all, r)
		}
		if len(all) == maxRefusalsMsg {
			break
		}
	}
	return all
}

// lost reports whether a request says that what the node holds is not what it was sent, so
// that a difference is of no use to it.
func lost(req *discovery.DeltaDiscoveryRequest) bool {
	return codes.Code(req.GetErrorDetail().GetCode()) == codes.DataLoss
}

// spot is a revision as refused: under whatever generation it is the same objects.
type spot struct {
	epoch        string
	staged, live uint64
	hash         feedv1.SetHash // a number whose commit was lost is used again
}

func spotOf(p feedv1.Pos) spot { return spot{p.Epoch, p.Staged, p.Live, p.Hash} }

// refusals remembers what each node refused. A node in another version starts afresh: it
// may understand what the older one did not.
type refusals struct {
	nodes map[string]*refuser
}

type refuser struct {
	version string
	refused []spot // oldest first
	resent  spot   // what was sent whole because the node lost its footing there
}

func (r *refusals) has(n *core.Node, to feedv1.Pos) bool {
	k := r.nodes[n.GetId()]
	if k == nil || k.version != n.GetUserAgentVersion() {
		return false
	}
	for _, s := range k.refused {
		if s == spotOf(to) {
			return true
		}
	}
	return false
}

func (r *refusals) add(n Node, at feedv1.Pos) {
	k := r.of(n)
	if len(k.refused) == maxRefused {
		k.refused = k.refused[1:]
	}
	k.refused = append(k.refused, spotOf(at))
}

// resend reports whether at may be sent to the node whole: once. What it loses twice it
// does not get a third time.
func (r *refusals) resend(n Node, at feedv1.Pos) bool {
	k := r.of(n)
	again := k.resent == spotOf(at)
	k.resent = spotOf(at)
	return !again
}

func (r *refusals) of(n Node) *refuser {
	k := r.nodes[n.ID]
	if k != nil && k.version == n.Version {
		return k
	}
	if r.nodes == nil {
		r.nodes = make(map[string]*refuser)
	}
	if k == nil && len(r.nodes) >= maxRefusers {
		for id := range r.nodes { // any: the cost is one more refusal of that node
			delete(r.nodes, id)
			break
		}
	}
	k = &refuser{version: n.Version}
	r.nodes[n.ID] = k
	return k
}
