package replicas

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Ask puts a question to the nodes of all replicas and returns what was answered, by node, until
// all have or ctx ends. It has a deadline.
func (r *Replicas) Ask(ctx context.Context, q *feedv1.Question) map[string]*feedv1.Answer {
	var mu sync.Mutex
	all := map[string]*feedv1.Answer{}
	add := func(answers map[string]*feedv1.Answer) {
		mu.Lock()
		defer mu.Unlock()
		for node, a := range answers {
			if have := all[node]; have == nil || a.GetKnown() { // it may have moved meanwhile
				all[node] = a
			}
		}
	}
	r.each(ctx, func(ctx context.Context, p *peer) error {
		res, err := p.client.Ask(ctx, &controlv1.AskRequest{Question: q})
		add(res.GetAnswers())
		return err
	}, func() {
		add(r.Fleet.Ask(ctx, proto.CloneOf(q))) // it numbers the question
	})
	return all
}

// Nodes are the nodes of all replicas, ascending by id, each as the replica has it that it is
// connected to, or was last.
func (r *Replicas) Nodes(ctx context.Context) []*controlv1.Node {
	var mu sync.Mutex
	all := map[string]*controlv1.Node{}
	for _, n := range r.Fleet.Nodes() {
		all[n.ID] = n.Proto()
	}
	r.each(ctx, func(ctx context.Context, p *peer) error {
		res, err := p.client.Seen(ctx, &controlv1.SeenRequest{})
		mu.Lock()
		defer mu.Unlock()
		for _, n := range res.GetNodes() {
			n.Replica = p.name
			if have := all[n.GetId()]; have == nil || nearer(n, have) {
				all[n.GetId()] = n
			}
		}
		return err
	}, func() {})
	return slices.SortedFunc(maps.Values(all), func(a, b *controlv1.Node) int { return cmp.Compare(a.GetId(), b.GetId()) })
}

// nearer reports whether a is the better word on a node than b.
func nearer(a, b *controlv1.Node) bool {
	if a.GetConnected() != b.GetConnected() {
		return a.GetConnected()
	}
	return a.GetLastSeen().AsTime().After(b.GetLastSeen().AsTime())
}

// LogLevel changes how much every replica and every node logs; d 0: for good.
func (r *Replicas) LogLevel(ctx context.Context, level string, d time.Duration) error {
	if err := r.SetLogLevel(level, d); err != nil {
		return err
	}
	r.Ask(ctx, &feedv1.Question{Ask: &feedv1.Question_LogLevel{LogLevel: &feedv1.LogLevelOrder{Level: level, For: durationpb.New(d)}}})
	r.each(ctx, func(ctx context.Context, p *peer) error {
		_, err := p.client.SetLogLevel(ctx, &controlv1.SetLogLevelRequest{Level: level, For: durationpb.New(d)})
		return err
	}, func() {})
	return nil
}

// each asks all peers at once, and does what is to be done here meanwhile.
func (r *Replicas) each(ctx context.Context, ask func(context.Context, *peer) error, here func()) {
	var wg sync.WaitGroup
	for _, p := range r.others() {
		if p.client == nil {
			continue // it is missed already
		}
		wg.Go(func() {
			if err := ask(ctx, p); err != nil && p.ctx.Err() == nil {
				p.failed(err)
			}
		})
	}
	here()
	wg.Wait()
}
