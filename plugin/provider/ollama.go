package provider

import (
	"errors"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// ollama is the form of Ollama's own interface.
type ollama struct{}

func (ollama) offers(string) bool { return true }

func (ollama) counts() bool { return true }

func (ollama) request(o llm.Object, m *model, _ string) (llm.Object, error) {
	out := llm.Object{"model": m.name, "stream": streams(o)}
	take(out, o, "messages", "prompt", "tools", "tool_choice")
	options := llm.Object{}
	for name, theirs := range map[string]string{
		"max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
	} {
		if v := o[name]; v != nil {
			options[theirs] = v
		}
	}
	if len(options) > 0 {
		out["options"] = options
	}
	return out, nil
}

func (ollama) answer(body []byte, m *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	if o == nil {
		return nil, errors.New("failed to decode ollama response")
	}
	out := llm.Object{
		"model": o["model"], "created": o["created_at"],
		"usage": tokens(number(o["prompt_eval_count"]), number(o["eval_count"])),
	}
	if route == Completions {
		out["object"], out["choices"] = "text_completion", []any{llm.Object{"index": 0, "text": o["response"]}}
		return out, nil
	}
	reason := o["finish_reason"]
	if reason == nil {
		reason = "stop"
		if m.options.MaxTokens != nil && number(o["eval_count"]) == m.options.GetMaxTokens() {
			reason = "length"
		}
	}
	out["object"] = "chat.completion"
	out["choices"] = []any{llm.Object{"index": 0, "finish_reason": reason, "message": o["message"]}}
	return out, nil
}

// event reads a line of JSON.
func (ollama) event(e event, s *stream) (string, error) {
	o := llm.Decode([]byte(e.data))
	if o == nil {
		return "", errors.New("failed to decode ollama response")
	}
	if o["done"] == true {
		s.usage.add(number(o["prompt_eval_count"]), number(o["eval_count"]))
		return done, nil
	}
	choice := llm.Object{"index": 0}
	out := llm.Object{"choices": []any{choice}, "model": o["model"]}
	if s.route == Completions {
		out["object"], choice["text"] = "text_completion", llm.Text(o, "response")
	} else {
		text, _ := inner(o, "message", "content").(string)
		out["object"], choice["delta"] = "chat.completion.chunk", llm.Object{"content": text}
	}
	return string(llm.Encode(out)), nil
}
