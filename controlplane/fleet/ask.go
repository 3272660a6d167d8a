package fleet

import (
	"context"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// What only nodes know is asked for when somebody wants it: it is always as it is now, costs
// nothing meanwhile, and needs no place where it could be stale. Questions go down the stream
// of reports and answers come up by it.

// maxQuestions bounds what one node has not answered yet; more are not sent to it.
const maxQuestions = 64

// asking is a question under way.
type asking struct {
	question *feedv1.Question
	answers  map[string]*feedv1.Answer // by node
	done     chan struct{}             // closed when every connected node has answered
	closed   bool
}

// reporter is one stream of reports, by which its node can be asked.
type reporter struct {
	questions chan *feedv1.Question
	blocks    chan struct{} // holds one token while the node is to be told what is blocked
}

// Ask puts a question to every connected node and returns what was answered until all have,
// or ctx ends. A node whose stream of reports opens meanwhile is asked too. Without nodes it
// does not wait. q.Id is set by Ask.
func (f *Fleet) Ask(ctx context.Context, q *feedv1.Question) map[string]*feedv1.Answer {
	a := &asking{question: q, answers: map[string]*feedv1.Answer{}, done: make(chan struct{})}
	f.mu.Lock()
	f.asked++
	q.Id = f.asked
	f.askings[q.Id] = a
	for r := range f.reporters {
		r.ask(q)
	}
	f.settle(a)
	f.mu.Unlock()

	select {
	case <-a.done:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.askings, q.Id)
	return a.answers
}

// settle ends a question that every connected node has answered. It is called under the lock.
func (f *Fleet) settle(a *asking) {
	for id, m := range f.nodes {
		if m.Connected && a.answers[id] == nil {
			return
		}
	}
	if !a.closed {
		a.closed = true
		close(a.done)
	}
}

// answer takes in what a node answers; one that comes too late, or from a node that has no
// configuration stream here, is nobody's.
func (f *Fleet) answer(node string, answer *feedv1.Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.askings[answer.GetQuestion()]
	if a == nil || a.closed || f.nodes[node] == nil {
		return
	}
	a.answers[node] = answer
	f.settle(a)
}

// join adds a stream of reports; what is being asked goes to it too.
func (f *Fleet) join() *reporter {
	r := &reporter{questions: make(chan *feedv1.Question, maxQuestions), blocks: make(chan struct{}, 1)}
	r.tell()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reporters[r] = struct{}{}
	for _, a := range f.askings {
		r.ask(a.question)
	}
	return r
}

func (f *Fleet) leave(r *reporter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.reporters, r)
}

func (r *reporter) ask(q *feedv1.Question) {
	select {
	case r.questions <- q:
	default: // it does not answer: whoever asks waits for it no longer than they would
	}
}
