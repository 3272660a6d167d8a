package provider

import (
	"fmt"
	"strings"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// format is how a provider writes requests and answers. It is immutable.
type format interface {
	// offers reports whether the provider has an operation.
	offers(route string) bool
	// counts reports whether streamed answers tell their tokens.
	counts() bool
	// request translates a request of OpenAI's form. It may change o.
	request(o llm.Object, m *model, route string) (llm.Object, error)
	// answer translates an answer into OpenAI's form.
	answer(body []byte, m *model, route string) (llm.Object, error)
	// event translates one event of a streamed answer: into nothing, a chunk of OpenAI's form,
	// or done.
	event(e event, s *stream) (chunk string, err error)
}

// done is the last event of OpenAI's streams.
const done = "[DONE]"

func formatOf(m *Model) (format, error) {
	provider := m.GetProvider()
	kind := provider
	switch provider {
	case "azure":
		kind = "openai"
	case "mistral":
		kind = m.GetOptions().GetMistralFormat()
	case "llama2":
		kind = m.GetOptions().GetLlama2Format()
	}
	switch kind {
	case "openai":
		return openAI{}, nil
	case "anthropic":
		return anthropic{}, nil
	case "cohere":
		return cohere{}, nil
	case "ollama":
		return ollama{}, nil
	case "gemini":
		return gemini{}, nil
	case "huggingface":
		return huggingFace{}, nil
	case "raw":
		return llama{}, nil
	}
	return nil, fmt.Errorf("%s is not supported yet", provider)
}

// Short names of what is said often here.
var (
	number = llm.Number
	inner  = llm.Inner
)

// items returns the objects of a list.
func items(v any) (all []llm.Object) {
	list, _ := v.([]any)
	for _, one := range list {
		if o, ok := one.(llm.Object); ok {
			all = append(all, o)
		}
	}
	return all
}

// tokens is the usage of OpenAI's form.
func tokens(prompt, completion int64) llm.Object {
	return llm.Object{"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
}

// streams reports whether a request asks for a stream, which providers are told in any case.
func streams(o llm.Object) bool {
	v, ok := o["stream"].(bool)
	return ok && v
}

// take moves members that are there.
func take(to, from llm.Object, names ...string) {
	for _, name := range names {
		if v, ok := from[name]; ok && v != nil {
			to[name] = v
		}
	}
}

// plain is the text of a message's content: as it is, or the texts of its parts.
func plain(content any) string {
	if s, ok := content.(string); ok {
		return s
	}
	var parts []string
	for _, p := range items(content) {
		if s, ok := p["text"].(string); ok {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "\n")
}

// chunkOf is a piece of a streamed answer of OpenAI's form.
func chunkOf(s *stream, text string, role any) string {
	choice := llm.Object{"index": 0, "finish_reason": nil, "logprobs": nil}
	object := "chat.completion.chunk"
	if s.route == Chat {
		delta := llm.Object{"content": text}
		if role != nil {
			delta["role"] = role
		}
		choice["delta"] = delta
	} else {
		choice["text"], object = text, "text_completion"
	}
	o := llm.Object{"choices": []any{choice}, "model": s.model.name, "object": object}
	if s.id != "" {
		o["id"] = s.id
	}
	return string(llm.Encode(o))
}
