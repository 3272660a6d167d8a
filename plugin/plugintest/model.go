package plugintest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Model is a server of a language model that says what it is told to. It is safe for
// concurrent use.
type Model struct {
	URL string

	mu     sync.Mutex
	status int
	answer string
	asked  []Asked
}

// Asked is one request to a Model.
type Asked struct {
	Header http.Header
	Query  string
	Body   map[string]any
}

// NewModel runs a server until the test ends.
func NewModel(t testing.TB) *Model {
	t.Helper()
	m := &Model{status: http.StatusOK}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	m.URL = s.URL
	return m
}

// Say makes content the model's answer, in OpenAI's form.
func (m *Model) Say(content string) {
	raw, err := json.Marshal(map[string]any{
		"model": "gpt-4-0613", "choices": []any{map[string]any{"index": 0, "message": map[string]any{"role": "assistant", "content": content}}},
		"usage": map[string]any{"prompt_tokens": 25, "completion_tokens": 12, "total_tokens": 37},
	})
	if err != nil {
		panic(err) // texts encode
	}
	m.Answer(http.StatusOK, string(raw))
}

// Answer makes status and body the model's answer.
func (m *Model) Answer(status int, body string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status, m.answer = status, body
}

// Asked returns the requests so far.
func (m *Model) Asked() []Asked {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Asked(nil), m.asked...)
}

// ServeHTTP implements http.Handler.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := Asked{Header: r.Header, Query: r.URL.RawQuery}
	if err := json.Unmarshal(raw, &a.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.asked = append(m.asked, a)
	status, answer := m.status, m.answer
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer) // the client tells what it missed
}
