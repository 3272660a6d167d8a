package aitokenlimiting

import (
	"context"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// visit is one request from its reservation to its settlement. It belongs to its exchange.
type visit struct {
	f       *filter
	x       *plugin.Exchange
	model   string
	guess   llm.Usage // what is reserved
	held    []held    // of each resource
	settled bool

	// What was read of the answer here.
	read  bool // its form is known
	piece bool // it is read as it comes, unless another plugin has it whole
	whole bool // it came to its end
	seen  llm.Usage
	text  int64 // bytes of the answer's texts
}

// held is what was reserved of a resource.
type held struct {
	of       *resource
	n        int64
	decision plugin.Decision
	kept     plugin.Reservation
}

// take reserves what the visit may use of a resource.
func (v *visit) take(r *resource, who string) (*held, error) {
	u := v.guess
	if v.f.reserve == "nothing" {
		u = llm.Usage{}
	}
	h := &held{of: r, n: max(1, r.of(u))}
	var err error
	h.kept, err = r.limiter.Reserve(v.context, who, h.n, &h.decision)
	if err == nil && h.decision.Allowed {
		v.held = append(v.held, *h)
	}
	return h, err
}

func (v *visit) context() context.Context { return v.x.Context() }

// settle corrects what is held to what was used; only the first call counts.
func (v *visit) settle(u llm.Usage) {
	if v.settled {
		return
	}
	v.settled = true
	for i := range v.held {
		h := &v.held[i]
		used := h.of.of(u)
		if h.kept != nil {
			h.kept.Settle(used)
		}
		for k := range h.of.windows {
			h.decision.Remaining[k] = max(0, h.decision.Remaining[k]+h.n-used)
		}
	}
}

// spent settles what a model's own count says.
func (v *visit) spent(u llm.Usage) {
	if u.Prompt == 0 {
		u.Prompt = v.guess.Prompt
	}
	u.Prompt, u.Completion = min(max(0, u.Prompt), most), min(max(0, u.Completion), most)
	if v.whole && !v.settled && u.Completion > 0 {
		v.f.usual.learn(v.model, u.Completion)
	}
	v.seen = u
	v.settle(u)
}

// used is what was read here: the model's count as far as it was told, else about what came.
func (v *visit) used() llm.Usage {
	u := v.seen
	if about := (v.text + 3) / 4; u.Completion == 0 || !v.whole && about > u.Completion {
		u.Completion = about
	}
	return u
}

// tell sets the headers of what is left.
func (v *visit) tell(h *plugin.Header) {
	if v.f.silent {
		return
	}
	for i := range v.held {
		if one := &v.held[i]; one.decision.Counted {
			one.of.tell(v.x, h, &one.decision.Remaining)
		}
	}
}
