package aitokenlimiting

import (
	"net/http"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// OnRequest reserves what the request may use. What has no body asks no model.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if !x.Request.HasBody {
		return plugin.Next
	}
	v := &visit{f: f, x: x}
	v.guess, v.model = f.estimate(x)
	who := f.identifier(x)
	if f.byModel {
		who += " " + v.model
	}
	for i := range f.resources {
		h, err := v.take(&f.resources[i], who)
		if err != nil {
			v.settle(llm.Usage{})
			f.log.Error("count tokens", "plugin", "ai-token-limiting", "error", err)
			return plugin.Deny(http.StatusInternalServerError, "").Because("limits-unreachable")
		}
		if f.open && counting.AsksMode(x) {
			x.Early.Set("Sekifuda-Limit-Mode", h.decision.Mode)
		}
		if !h.decision.Allowed {
			v.settle(llm.Usage{})
			return f.refuse(v, h)
		}
	}
	v.tell(&x.Early)
	// The answer is read here, and few models' servers gain from packing it.
	x.Request.Header.Del("Accept-Encoding")
	llm.OnUsage(x, v.final)
	x.Put(f, v)
	return plugin.Next
}

// final settles what another plugin read of the answer, and tells it while the head is not sent.
func (v *visit) final(u llm.Usage) {
	v.whole = true
	v.spent(u)
	v.tell(&v.x.Response.Header)
}

// refuse says which window stops the request, and when it may come again.
func (f *filter) refuse(v *visit, h *held) plugin.Verdict {
	w := &h.of.windows[h.decision.Stop]
	v.tell(&v.x.Early)
	if !f.silent {
		h.of.tell(v.x, &v.x.Early, &h.decision.Remaining)
	}
	if least := h.of.least(); h.n > least.Limit {
		return plugin.Deny(f.status, "this request may use "+strconv.FormatFloat(float64(h.n)/h.of.unit, 'f', -1, 64)+
			" ("+h.of.name+"), more than is allowed in a "+least.Name+": "+least.Text).Because("more-than-limit")
	}
	if !f.silent {
		v.x.Early.Set("Retry-After", v.x.Decimal(w.Reset(h.decision.Now)))
	}
	return plugin.Deny(f.status, f.message).Because(w.reasonExceeded)
}

// OnResponse gives back what a failed request reserved, and reads answers that nobody else does.
func (f *filter) OnResponse(x *plugin.Exchange) {
	v, _ := x.Value(f).(*visit)
	switch {
	case v == nil:
	case failed(x):
		v.settle(llm.Usage{})
		v.tell(&x.Response.Header)
	case !llm.Metered(x):
		v.watch()
	}
}

// failed reports whether no model answered: then nothing was used.
func failed(x *plugin.Exchange) bool {
	return x.Response.Source != plugin.FromUpstream || x.Response.Status >= http.StatusBadRequest
}

// OnLog settles what has not come to its end: the client went away, or the answer could not be read.
func (f *filter) OnLog(x *plugin.Exchange) {
	v, _ := x.Value(f).(*visit)
	if v == nil {
		return
	}
	x.Put(f, nil)
	switch {
	case v.settled:
	case failed(x):
		v.settle(llm.Usage{})
	case llm.Metered(x):
		v.spent(llm.Reported(x))
	case v.read && !(v.piece && len(x.Response.Rewrites()) > 0):
		v.spent(v.used())
	default:
		v.settle(v.guess)
		v.seen = v.guess
	}
	f.note(x, v)
}

// note tells logs and metrics what was used, unless the plugin that spoke to the model does.
func (f *filter) note(x *plugin.Exchange, v *visit) {
	llm.Log(x, llm.Object{
		"prompt_tokens": v.seen.Prompt, "completion_tokens": v.seen.Completion,
		"reserved_prompt_tokens": v.guess.Prompt, "reserved_completion_tokens": v.guess.Completion,
	}, "token_limiting", "usage")
	if llm.Metered(x) || failed(x) || x.Service == nil {
		return
	}
	x.Model = plugin.ModelUse{
		Provider: x.Service.Label(), Name: v.model, PromptTokens: v.seen.Prompt, CompletionTokens: v.seen.Completion,
		Latency: x.Times.End.Sub(x.Times.Start),
	}
	for i := range v.held {
		if h := &v.held[i]; h.of.name == "cost" {
			x.Model.Cost = float64(h.of.of(v.seen)) / h.of.unit
		}
	}
}
