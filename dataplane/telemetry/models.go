package telemetry

import (
	"strconv"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
)

// modelKey names the series of a language model.
type modelKey struct{ provider, name string }

// modelUse counts the calls of one model.
type modelUse struct {
	labels  string // all but the workspace
	latency histogram

	mu                 sync.Mutex
	calls              uint64
	prompt, completion int64
	cost               float64
}

// modelBounds are Kong's buckets of a provider's latency, in milliseconds.
var modelBounds = []int64{250, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 10000, 30000, 60000}

// newModelUse labels as Kong does, whose open edition has no cache, vectors or embeddings to
// name.
func newModelUse(k modelKey) *modelUse {
	m := &modelUse{labels: `ai_provider="` + escape(k.provider) + `",ai_model="` + escape(k.name) +
		`",cache_status="",vector_db="",embeddings_provider="",embeddings_model=""`}
	m.latency.bounds = modelBounds
	return m
}

func (m *Metrics) observeModel(u *plugin.ModelUse) {
	s := m.models.get(modelKey{u.Provider, u.Name}, newModelUse)
	if s == nil {
		m.refused.Add(1)
		return
	}
	s.latency.observe(u.Latency.Milliseconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.prompt += u.PromptTokens
	s.completion += u.CompletionTokens
	s.cost += u.Cost
}

// appendModels leaves out what is zero, as series that Kong never made.
func (m *Metrics) appendModels(b []byte) []byte {
	all := m.models.all()
	for _, c := range [...]struct {
		name, help string
		values     func(*modelUse) []reading
	}{
		{"kong_ai_llm_requests_total", "Calls to language models by provider and model.", func(s *modelUse) []reading {
			return []reading{{"", float64(s.calls)}}
		}},
		{"kong_ai_llm_cost_total", "Cost of calls to language models, by the configured prices.", func(s *modelUse) []reading {
			return []reading{{"", s.cost}}
		}},
		{"kong_ai_llm_tokens_total", "Tokens of prompts, of answers, and of both.", func(s *modelUse) []reading {
			return []reading{
				{`,token_type="prompt_tokens"`, float64(s.prompt)},
				{`,token_type="completion_tokens"`, float64(s.completion)},
				{`,token_type="total_tokens"`, float64(s.prompt + s.completion)},
			}
		}},
	} {
		begin := len(b)
		b = head(b, c.name, "counter", c.help)
		empty := len(b)
		for _, s := range all {
			s.mu.Lock()
			for _, v := range c.values(s) {
				b = v.append(b, c.name, s.labels)
			}
			s.mu.Unlock()
		}
		b = unlessEmpty(b, begin, empty)
	}
	begin := len(b)
	b = head(b, "kong_ai_llm_provider_latency_ms", "histogram", "Time of calls to language models, in milliseconds.")
	empty := len(b)
	for _, s := range all {
		b = s.latency.append(b, "kong_ai_llm_provider_latency_ms", s.labels+`,workspace="default"`)
	}
	return unlessEmpty(b, begin, empty)
}

// reading is one value and what its labels have beyond those of the model.
type reading struct {
	more  string
	value float64
}

func (v reading) append(b []byte, name, labels string) []byte {
	if v.value == 0 {
		return b
	}
	b = append(append(append(append(b, name...), '{'), labels...), v.more...)
	b = append(b, `,workspace="default"} `...)
	return append(strconv.AppendFloat(b, v.value, 'f', -1, 64), '\n')
}
