package aitokenlimiting

import (
	"math"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

const (
	// most bounds what a request can ask for and an answer can tell: no sum of costs overflows.
	most = 1 << 32
	// perMessage is what a message is in tokens besides its text.
	perMessage = 4
)

// bounds are where requests say how many tokens an answer may have: OpenAI and Anthropic, OpenAI's
// newer models and its responses, Ollama, Gemini.
var bounds = [][]string{
	{"max_tokens"}, {"max_completion_tokens"}, {"max_output_tokens"}, {"options", "num_predict"},
	{"generationConfig", "maxOutputTokens"},
}

// prompts are the members of requests whose texts a model reads.
var prompts = []string{"messages", "prompt", "input", "system", "instructions", "tools", "contents"}

// estimate is what a request may use, and the model that it names.
func (f *filter) estimate(x *plugin.Exchange) (u llm.Usage, model string) {
	request := llm.Read(x, f.maxBody)
	if request == nil {
		return llm.Usage{Prompt: f.unread(x), Completion: f.maxTokens}, ""
	}
	if f.askUsage {
		llm.AskUsage(x, request)
	}
	for _, name := range prompts {
		u.Prompt += llm.Tokens(request[name])
	}
	u.Prompt += perMessage * int64(len(llm.Messages(request)))
	model = llm.Text(request, "model")
	u.Completion = f.answer(request, model)
	return u, model
}

// unread is about how many tokens a body is that is no JSON, or larger than what is read.
func (f *filter) unread(x *plugin.Exchange) int64 {
	n := x.Request.Length
	if n < 0 {
		n = max(f.maxBody, int64(len(llm.Raw(x, f.maxBody))))
	}
	return min(n/4, most)
}

// answer is how many tokens the answer may have.
func (f *filter) answer(request llm.Object, model string) int64 {
	n, said := f.maxTokens, false
	for _, path := range bounds {
		if b := llm.Number(llm.Inner(request, path...)); b > 0 {
			n, said = b, true
			break
		}
	}
	n = min(n, most)
	if choices := llm.Number(request["n"]); choices > 1 {
		n = min(n*min(choices, 1<<10), most)
	}
	if f.reserve != "usual" {
		return n
	}
	if usual, known := f.usual.of(model); known && (!said || usual < n) {
		return usual
	}
	return n
}

const (
	// quantile is the part of answers that are no longer than what is usual.
	quantile = 0.95
	// pace is by what part the usual moves with an answer.
	pace = 0.1
	// maxModels bounds the models whose usual answers are known; clients name them.
	maxModels = 1024
)

// usual learns how long answers of models usually are. It is safe for concurrent use.
type usual struct {
	mu     sync.Mutex
	models map[string]float64
}

func newUsual() *usual { return &usual{models: map[string]float64{}} }

func (u *usual) of(model string) (tokens int64, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n, known := u.models[model]
	return int64(math.Ceil(n)), known
}

// learn moves the model's usual up when an answer was longer, and down by so much less when it
// was not, that in the end one of twenty is longer.
func (u *usual) learn(model string, tokens int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n, known := u.models[model]
	switch {
	case !known && len(u.models) >= maxModels:
		return
	case !known:
		n = float64(tokens)
	case float64(tokens) > n:
		n = min(float64(tokens), (n+1)*(1+pace*quantile))
	default:
		n *= 1 - pace*(1-quantile)
	}
	u.models[model] = n
}
