package provider

import (
	"errors"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// anthropic is Claude's form: messages with the system's apart, and texts in blocks.
type anthropic struct{}

func (anthropic) offers(string) bool { return true }

func (anthropic) counts() bool { return true }

func (anthropic) request(o llm.Object, m *model, route string) (llm.Object, error) {
	out := llm.Object{"model": m.name, "stream": streams(o)}
	take(out, o, "temperature")
	if route == Completions {
		out["prompt"] = "Human: " + llm.Text(o, "prompt") + "\n\nAssistant:"
		if v := o["max_tokens"]; v != nil {
			out["max_tokens_to_sample"] = v
		}
		return out, nil
	}
	take(out, o, "max_tokens", "tool_choice")
	messages := []any{}
	for _, said := range items(o["messages"]) {
		role := said["role"]
		switch calls := items(said["tool_calls"]); {
		case role == "assistant" && calls != nil:
			messages = append(messages, llm.Object{"role": role, "content": toolUses(calls)})
		case role == "tool":
			messages = append(messages, llm.Object{"role": "user", "content": []any{llm.Object{
				"type": "tool_result", "tool_use_id": said["tool_call_id"], "content": said["content"],
			}}})
		case role == "assistant" || role == "user":
			messages = append(messages, said)
		default:
			out["system"] = said["content"]
		}
	}
	out["messages"] = messages
	if o["tools"] != nil {
		out["tools"] = toolsOf(items(o["tools"]))
	}
	return out, nil
}

func toolUses(calls []llm.Object) (uses []any) {
	for _, c := range calls {
		arguments, _ := inner(c, "function", "arguments").(string)
		uses = append(uses, llm.Object{
			"type": "tool_use", "id": c["id"], "name": inner(c, "function", "name"), "input": llm.Decode([]byte(arguments)),
		})
	}
	return uses
}

func toolsOf(tools []llm.Object) []any {
	out := []any{}
	for _, t := range tools {
		if f, ok := t["function"].(llm.Object); ok {
			f["input_schema"] = f["parameters"]
			delete(f, "parameters")
			out = append(out, f)
		}
	}
	return out
}

func (anthropic) answer(body []byte, _ *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	switch {
	case o == nil:
		return nil, errors.New("failed to decode anthropic response")
	case route == Completions && o["completion"] == nil:
		return nil, errors.New("'completion' not in anthropic://llm/v1/chat response")
	case route == Completions:
		choice := llm.Object{"index": 0, "text": o["completion"], "finish_reason": o["stop_reason"]}
		return llm.Object{"choices": []any{choice}, "model": o["model"], "object": "text_completion"}, nil
	case o["content"] == nil:
		return nil, errors.New("'content' not in anthropic://llm/v1/chat response")
	}
	message := llm.Object{"role": "assistant", "content": plain(o["content"])}
	if calls := toolCalls(items(o["content"])); calls != nil {
		message["tool_calls"] = calls
	}
	out := llm.Object{
		"choices": []any{llm.Object{"index": 0, "message": message, "finish_reason": o["stop_reason"]}},
		"model":   o["model"], "object": "chat.completion", "usage": "no usage data returned from upstream",
	}
	take(out, o, "id")
	if u := o["usage"]; u != nil {
		out["usage"] = tokens(number(inner(u, "input_tokens")), number(inner(u, "output_tokens")))
	}
	return out, nil
}

func toolCalls(blocks []llm.Object) (calls []any) {
	for _, b := range blocks {
		if b["type"] == "tool_use" {
			calls = append(calls, llm.Object{"id": b["id"], "type": "function", "function": llm.Object{
				"name": b["name"], "arguments": string(llm.Encode(b["input"])),
			}})
		}
	}
	return calls
}

// event reads events by their names; one without a name has it in its data.
func (anthropic) event(e event, s *stream) (string, error) {
	o := llm.Decode([]byte(e.data))
	name := e.name
	if name == "" {
		name = llm.Text(o, "type")
	}
	if o == nil || name == "" {
		return "", errors.New("transformation to stream event failed or empty stream event received")
	}
	switch name {
	case "message_start":
		m, ok := o["message"].(llm.Object)
		if !ok {
			return "", errors.New("message_start is missing the metadata block")
		}
		s.id = llm.Text(m, "id")
		s.usage.add(number(inner(m, "usage", "input_tokens")), number(inner(m, "usage", "output_tokens")))
		return chunkOf(s, "", m["role"]), nil
	case "content_block_start", "content_block_delta":
		text, _ := inner(o, "delta", "text").(string)
		return chunkOf(s, text, nil), nil
	case "message_delta":
		if o["usage"] == nil {
			return "", errors.New("message_delta is missing the metadata block")
		}
		s.usage.add(0, number(inner(o, "usage", "output_tokens")))
	case "message_stop":
		return done, nil
	case "error":
		return string(llm.Encode(llm.Object{"error": o["error"]})), nil
	}
	return "", nil
}
