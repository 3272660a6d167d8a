package provider

import (
	"errors"
	"strings"

	"github.com/sekifuda/sekifuda/plugin/llm"
)

// llama is the raw form of llama2 servers: one text with marks in it. It has no streams.
type llama struct{}

func (llama) offers(string) bool { return true }

func (llama) counts() bool { return true }

func (llama) request(o llm.Object, _ *model, route string) (llm.Object, error) {
	parameters := llm.Object{"stream": streams(o)}
	take(parameters, o, "top_p", "top_k", "temperature")
	if v := o["max_tokens"]; v != nil {
		parameters["max_new_tokens"] = v
	}
	inputs := "<s> [INST] <<SYS>> You are a helpful assistant. <<SYS>> " + llm.Text(o, "prompt") + " [/INST]"
	if route == Chat {
		inputs = instructions(items(o["messages"]))
	}
	return llm.Object{"inputs": inputs, "parameters": parameters}, nil
}

// instructions writes a chat as one text: the first message is the system's, the second the
// user's; later ones by their roles, as Kong has it.
func instructions(said []llm.Object) string {
	var b strings.Builder
	for i, m := range said {
		text := plain(m["content"])
		switch {
		case i == 0:
			b.WriteString("<s>[INST] <<SYS>> " + text + " <</SYS>>")
		case i == 1:
			b.WriteString(" " + text + " [/INST]")
		case m["role"] == "system":
			b.WriteString(" " + text + " </s>")
		case m["role"] == "user":
			b.WriteString(" <s>[INST] " + text + " [/INST]")
		}
	}
	return b.String()
}

func (llama) answer(body []byte, _ *model, route string) (llm.Object, error) {
	o := llm.Decode(body)
	if o == nil {
		return nil, errors.New("failed to decode llama2 response")
	}
	data := items(o["data"])
	if len(data) != 1 {
		return nil, errors.New("cannot parse response from llama2 endpoint")
	}
	generated, ok := data[0]["generated_text"].(string)
	if !ok {
		return nil, errors.New("response data is empty from llama2 endpoint")
	}
	if i := strings.LastIndex(generated, "[/INST]"); i >= 0 {
		generated = generated[i+len("[/INST]"):]
	}
	text := strings.TrimSpace(generated)
	out := llm.Object{"object": "chat.completion"}
	choice := llm.Object{"index": 0}
	if route == Completions {
		out["object"], choice["text"] = "text_completion", text
	} else {
		choice["message"] = llm.Object{"role": "assistant", "content": text}
	}
	out["choices"] = []any{choice}
	take(out, o, "usage")
	return out, nil
}

func (llama) event(event, *stream) (string, error) {
	return "", errors.New("no transformer available for streams of this format")
}
