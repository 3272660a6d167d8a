package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

func TestAskWaitsForEveryConnectedNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := New(nil)
		if got := f.Ask(t.Context(), &feedv1.Question{}); len(got) != 0 {
			t.Errorf("without nodes: %v", got)
		}
		connect(f, 2, 4)
		first := f.join()
		got := make(chan map[string]*feedv1.Answer, 1)
		ask := func(ctx context.Context) { got <- f.Ask(ctx, &feedv1.Question{}) }
		go ask(t.Context())
		q := <-first.questions
		late := f.join() // what is being asked goes to a stream that opens meanwhile
		if again := <-late.questions; again.GetId() != q.GetId() {
			t.Errorf("asked %v, then %v", q, again)
		}
		f.answer("n0", &feedv1.Answer{Question: q.GetId()})
		f.answer("n0", &feedv1.Answer{Question: q.GetId(), Known: true})
		f.answer("stranger", &feedv1.Answer{Question: q.GetId()})
		f.answer("n1", &feedv1.Answer{Question: q.GetId() + 1})
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("did not wait for the second node")
		}
		f.answer("n1", &feedv1.Answer{Question: q.GetId()})
		if a := <-got; len(a) != 2 || !a["n0"].GetKnown() {
			t.Errorf("answers = %v", a)
		}

		// A node that goes is waited for no longer, and one that is silent only for so long.
		go ask(t.Context())
		q = <-first.questions
		f.answer("n0", &feedv1.Answer{Question: q.GetId()})
		f.Disconnected(1)
		if a := <-got; len(a) != 1 {
			t.Errorf("after one left: %v", a)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go ask(ctx)
		if a := <-got; len(a) != 0 {
			t.Errorf("from a silent node: %v", a)
		}
		f.leave(first)
		f.leave(late)
		if len(f.askings) != 0 || len(f.reporters) != 0 {
			t.Error("something is kept of what is over")
		}
	})
}
