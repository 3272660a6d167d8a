package provider

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// wording is an error in Kong's own words, which clients read.
type wording string

func (w wording) Error() string { return string(w) }

// huggingFace is the form of Hugging Face's inference: OpenAI's with settings apart.
type huggingFace struct{}

func (huggingFace) offers(string) bool { return true }

func (huggingFace) counts() bool { return false }

func (huggingFace) request(o llm.Object, m *model, route string) (llm.Object, error) {
	parameters, _ := o["parameters"].(llm.Object)
	if parameters == nil {
		parameters = llm.Object{}
	}
	length := "max_lenght" // as Kong spells it
	if route == Completions {
		length = "max_new_tokens"
		o["inputs"] = o["prompt"]
		delete(o, "prompt")
	}
	for name, theirs := range map[string]string{"top_k": "top_k", "top_p": "top_p", "temperature": "temperature", "max_tokens": length} {
		if v := o[name]; v != nil && parameters[name] == nil {
			parameters[theirs] = v
		}
		delete(o, name)
	}
	h := m.options.GetHuggingface()
	o["options"] = llm.Object{"use_cache": h.GetUseCache(), "wait_for_model": h.GetWaitForModel()}
	o["parameters"], o["model"] = parameters, m.name
	return o, nil
}

func (huggingFace) answer(body []byte, m *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	var list []llm.Object
	if o == nil && json.Unmarshal(body, &list) != nil {
		return nil, wording("Failed to decode response")
	}
	for _, name := range []string{"error", "message"} {
		if problem := o[name]; problem != nil {
			return nil, fmt.Errorf("API error: %v", problem)
		}
	}
	choice := func(i int, content any) llm.Object {
		return llm.Object{"index": i, "message": llm.Object{"content": content}, "finish_reason": "complete"}
	}
	var choices []any
	switch {
	case len(list) > 0 && list[0]["generated_text"] != nil:
		choices = append(choices, choice(0, list[0]["generated_text"]))
	case o["choices"] != nil:
		for i, c := range items(o["choices"]) {
			content := inner(c, "message", "content")
			if content == nil {
				content = ""
			}
			choices = append(choices, choice(i, content))
		}
	default:
		return nil, wording("Invalid response format")
	}
	out := llm.Object{"model": m.name, "object": route, "choices": choices, "usage": llm.Object{}}
	take(out, o, "object", "usage")
	return out, nil
}

func (huggingFace) event(e event, s *stream) (string, error) {
	if e.data == done {
		return done, nil
	}
	o := llm.Decode([]byte(e.data))
	if o == nil {
		return "", errors.New("failed to decode stream event frame from Hugging Face")
	}
	if s.route == Completions {
		text, _ := inner(o, "token", "text").(string)
		return chunkOf(s, text, nil), nil
	}
	text := ""
	if choices := items(o["choices"]); len(choices) > 0 {
		text, _ = inner(choices[0], "delta", "content").(string)
	}
	return chunkOf(s, text, "assistant"), nil
}
