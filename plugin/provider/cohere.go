package provider

import (
	"errors"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// cohere is Cohere's first form: one message, and the chat so far.
type cohere struct{}

func (cohere) offers(string) bool { return true }

func (cohere) counts() bool { return true }

func (cohere) request(o llm.Object, m *model, route string) (llm.Object, error) {
	o["model"], o["stream"] = m.name, streams(o)
	for name, theirs := range map[string]string{"top_p": "p", "top_k": "k"} {
		if v := o[name]; v != nil {
			o[theirs] = v
		}
		delete(o, name)
	}
	if route == Completions {
		return o, nil
	}
	said := items(o["messages"])
	if len(said) == 0 {
		return nil, errors.New("there are no messages")
	}
	last := len(said) - 1
	history := []any{}
	for _, one := range said[:last] {
		role := "USER"
		if one["role"] == "assistant" || one["role"] == "CHATBOT" {
			role = "CHATBOT"
		}
		history = append(history, llm.Object{"role": role, "message": one["content"]})
	}
	if len(history) > 0 {
		o["chat_history"] = history
	}
	o["message"] = said[last]["content"]
	delete(o, "messages")
	return o, nil
}

func (cohere) answer(body []byte, m *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	if o == nil {
		return nil, errors.New("failed to decode cohere response")
	}
	generations := o["prompt"] != nil && o["generations"] != nil
	text, isText := o["text"].(string)
	message, isMessage := o["message"].(llm.Object)
	id := o["id"]
	units := inner(o, "meta", "billed_units")
	object := "chat.completion"
	var choices []any
	switch {
	case generations:
		object = "text_completion"
		for i, g := range items(o["generations"]) {
			choices = append(choices, llm.Object{"index": i, "text": g["text"], "finish_reason": "stop"})
		}
	case isText && route == Chat:
		id = o["generation_id"]
		said := llm.Object{"role": "assistant", "content": text}
		choices = append(choices, llm.Object{"index": 0, "message": said, "finish_reason": "stop"})
	case isText:
		object, id = "text_completion", o["generation_id"]
		choices = append(choices, llm.Object{"index": 0, "text": text, "finish_reason": "stop"})
	case isMessage && route == Chat:
		units = inner(o, "usage", "billed_units")
		said := llm.Object{"role": "assistant", "content": message["content"]}
		take(said, message, "tool_calls")
		if plan := message["tool_plan"]; plan != nil {
			said["content"] = plan
		}
		choices = append(choices, llm.Object{"index": 0, "message": said, "finish_reason": o["finish_reason"]})
	default:
		return nil, errors.New("'text' or 'generations' missing from cohere response body")
	}
	out := llm.Object{"choices": choices, "object": object, "model": m.name}
	if id != nil {
		out["id"] = id
	}
	if units != nil {
		out["usage"] = tokens(number(inner(units, "input_tokens")), number(inner(units, "output_tokens")))
	}
	return out, nil
}

func (cohere) event(e event, s *stream) (string, error) {
	if e.data == "" {
		return "", nil
	}
	o := llm.Decode([]byte(e.data))
	if o == nil {
		return "", errors.New("failed to decode event frame from cohere")
	}
	switch o["event_type"] {
	case "stream-start":
		s.id = llm.Text(o, "generation_id")
		return chunkOf(s, "", "assistant"), nil
	case "text-generation":
		return chunkOf(s, llm.Text(o, "text"), nil), nil
	case "stream-end":
		if units := inner(o, "response", "meta", "billed_units"); units != nil {
			s.usage.add(number(inner(units, "input_tokens")), number(inner(units, "output_tokens")))
		} else {
			count := inner(o, "response", "token_count")
			s.usage.add(number(inner(count, "prompt_tokens")), number(inner(count, "response_tokens")))
		}
		return done, nil
	}
	return "", nil
}
