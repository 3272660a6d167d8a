package provider

import (
	"fmt"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// openAI is the form that clients speak, too: little is changed.
type openAI struct{}

func (openAI) offers(string) bool { return true }

func (openAI) counts() bool { return false }

func (openAI) request(o llm.Object, m *model, _ string) (llm.Object, error) {
	o["model"], o["stream"] = m.name, streams(o)
	delete(o, "top_k") // OpenAI has none
	return o, nil
}

func (openAI) answer(body []byte, _ *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	if o == nil {
		return nil, fmt.Errorf("failed to decode %s response", route)
	}
	if o["choices"] == nil {
		return nil, fmt.Errorf("'choices' not in %s response", route)
	}
	return o, nil
}

// event passes events on. The usage that some servers send with the last one counts.
func (openAI) event(e event, s *stream) (string, error) {
	if u := inner(llm.Decode([]byte(e.data)), "usage"); u != nil {
		s.usage.prompt, s.usage.completion = number(inner(u, "prompt_tokens")), number(inner(u, "completion_tokens"))
	}
	return e.data, nil
}
