package provider

import (
	"testing"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func FuzzStream(f *testing.F) {
	f.Add("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", 3)
	f.Add("{\"done\":true}\n", 1)
	f.Add("event: message_start\ndata: {}\n\n", 5)
	kinds := []format{openAI{}, anthropic{}, cohere{}, ollama{}, llama{}, gemini{}, huggingFace{}}
	f.Fuzz(func(t *testing.T, body string, n int) {
		for _, k := range kinds {
			whole, pieces := fuzzed(k, body, len(body)+1), fuzzed(k, body, max(n, 1))
			if whole != pieces {
				t.Errorf("%T: %q in pieces of %d is %q, as a whole %q", k, body, n, pieces, whole)
			}
		}
	})
}

func fuzzed(k format, body string, n int) string {
	s := &stream{
		Call: &Call{model: &model{name: "m", options: &options{&Options{}}}}, format: k, route: Chat,
		x: plugintest.Request{}.Exchange(), log: plugintest.NewHost().Logger(), known: true, keep: true, kind: "application/json",
	}
	var out []byte
	for len(body) > n {
		out = append(out, s.edit([]byte(body[:n]), false)...)
		body = body[n:]
	}
	return string(append(out, s.edit([]byte(body), true)...))
}
