package provider

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// gemini is Google's form: contents of parts, with the system's apart. It has only chats.
type gemini struct{}

func (gemini) offers(route string) bool { return route == Chat }

func (gemini) counts() bool { return true }

func (gemini) request(o llm.Object, m *model, _ string) (llm.Object, error) {
	var system strings.Builder
	contents := []any{}
	for at, said := range items(o["messages"]) {
		switch role := said["role"]; {
		case role == "system":
			system.WriteString(plain(said["content"]))
		case role == "tool":
			contents = append(contents, llm.Object{"role": "function", "parts": []any{llm.Object{
				"function_response": llm.Object{"name": said["name"], "response": llm.Object{"content": []any{said["content"]}}},
			}}})
		case role == "assistant" && items(said["tool_calls"]) != nil:
			contents = append(contents, llm.Object{"role": "function", "parts": functionCalls(items(said["tool_calls"]))})
		default:
			parts, problem := partsOf(said["content"])
			if problem != "" {
				return nil, &refusal{fmt.Sprintf("message at position %d, %s", at+1, problem)}
			}
			speaker := "user"
			if role == "assistant" {
				speaker = "model"
			}
			contents = append(contents, llm.Object{"role": speaker, "parts": parts})
		}
	}
	out := llm.Object{"contents": contents}
	if system.Len() > 0 {
		if strings.HasPrefix(m.name, "gemini-1.0") {
			return nil, &refusal{"system prompts aren't supported on gemini-1.0 models"}
		}
		out["systemInstruction"] = llm.Object{"parts": []any{llm.Object{"text": system.String()}}}
	}
	settings := llm.Object{}
	for name, theirs := range map[string]string{
		"max_tokens": "maxOutputTokens", "stop": "stopSequences", "temperature": "temperature", "top_k": "topK", "top_p": "topP",
	} {
		if v := o[name]; v != nil {
			settings[theirs] = v
		}
	}
	out["generationConfig"] = settings
	var declared []any
	for _, t := range items(o["tools"]) {
		declared = append(declared, t["function"])
	}
	if declared != nil {
		out["tools"] = []any{llm.Object{"function_declarations": declared}}
	}
	take(out, o, "tool_config")
	return out, nil
}

func functionCalls(calls []llm.Object) (parts []any) {
	for _, c := range calls {
		parts = append(parts, llm.Object{"function_call": llm.Object{"name": inner(c, "function", "name")}})
	}
	return parts
}

// partsOf translates texts and images.
func partsOf(content any) (parts []any, problem string) {
	if text, ok := content.(string); ok {
		return []any{llm.Object{"text": text}}, ""
	}
	for i, p := range items(content) {
		switch p["type"] {
		case "text":
			parts = append(parts, llm.Object{"text": p["text"]})
		case "image_url":
			url, _ := inner(p, "image_url", "url").(string)
			data, isData := strings.CutPrefix(url, "data:")
			kind, encoded, ok := strings.Cut(data, ";base64,")
			switch {
			case isData && ok:
				parts = append(parts, llm.Object{"inlineData": llm.Object{"mimeType": kind, "data": encoded}})
			case isData || len(url) < 10:
				return nil, fmt.Sprintf("part at position %d: could not decode OpenAI image-part", i+1)
			default:
				parts = append(parts, llm.Object{"fileData": llm.Object{"fileUri": url, "mimeType": "image/generic"}})
			}
		default:
			return nil, fmt.Sprintf("part at position %d: cannot transform part of type '%v' to Gemini format", i+1, p["type"])
		}
	}
	if parts == nil {
		return nil, "does not match expected array format"
	}
	return parts, ""
}

// candidate returns the first answer's text, calls of functions, and why it ended.
func candidate(o llm.Object) (text any, calls []any, reason any) {
	all := items(o["candidates"])
	if len(all) == 0 {
		return nil, nil, nil
	}
	for _, p := range items(inner(all[0], "content", "parts")) {
		if text == nil {
			text = p["text"]
		}
		if f := p["functionCall"]; f != nil {
			calls = append(calls, llm.Object{"type": "function", "function": llm.Object{
				"name": inner(f, "name"), "arguments": string(llm.Encode(inner(f, "args"))),
			}})
		}
	}
	return text, calls, all[0]["finishReason"]
}

func (gemini) answer(body []byte, m *model, _ string) (llm.Object, error) {
	o := llm.Decode(body)
	if o == nil {
		return nil, errors.New("failed to decode response from Gemini")
	}
	text, calls, reason := candidate(o)
	if text == nil && calls == nil {
		return nil, errors.New("no generation candidates received from Gemini, max_tokens too short?")
	}
	message := llm.Object{"role": "assistant"}
	if text != nil {
		message["content"] = text
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	ended, _ := reason.(string)
	return llm.Object{
		"choices": []any{llm.Object{"index": 0, "message": message, "finish_reason": strings.ToLower(ended)}},
		"object":  "chat.completion", "model": m.name,
		"usage": tokens(number(inner(o, "usageMetadata", "promptTokenCount")), number(inner(o, "usageMetadata", "candidatesTokenCount"))),
	}, nil
}

// event reads one answer of many. They do not say when they are over.
func (gemini) event(e event, s *stream) (string, error) {
	s.closes = true
	o := llm.Decode([]byte(e.data))
	if o == nil {
		return "", errors.New("failed to decode stream event frame from gemini")
	}
	if u := o["usageMetadata"]; u != nil {
		s.usage = usage{number(inner(u, "promptTokenCount")), number(inner(u, "candidatesTokenCount"))}
	}
	text, calls, reason := candidate(o)
	if text == nil && calls == nil {
		return "", nil
	}
	delta := llm.Object{"role": "assistant"}
	if text != nil {
		delta["content"] = text
	} else {
		delta["tool_calls"] = calls
	}
	choice := llm.Object{"index": 0, "delta": delta, "finish_reason": reason}
	return string(llm.Encode(llm.Object{"choices": []any{choice}, "model": s.model.name, "object": "chat.completion.chunk"})), nil
}
