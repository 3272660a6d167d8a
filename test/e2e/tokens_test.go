package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// tokens stands in for a server of models that tells what it used: 7 tokens of the prompt and 5 of
// the answer. A stream of OpenAI's form tells it when asked; one for "slow" does not end.
func tokens(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	send := func(w http.ResponseWriter, text string) {
		fmt.Fprint(w, text)
		w.(http.Flusher).Flush()
	}
	const use = `"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}`
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Model         string
			Stream        bool
			StreamOptions struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		switch {
		case q.Model == "broken":
			w.WriteHeader(http.StatusInternalServerError)
			return
		case !q.Stream:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"choices":[{"message":{"content":"one two"}}],`+use+`}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		send(w, `data: {"choices":[{"index":0,"delta":{"content":"one two three four "}}]}`+"\n\n")
		if q.Model == "slow" {
			<-r.Context().Done()
			return
		}
		if q.StreamOptions.IncludeUsage {
			send(w, `data: {"choices":[],`+use+"}\n\n")
		}
		send(w, "data: [DONE]\n\n")
	})
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Stream *bool }
		_ = json.NewDecoder(r.Body).Decode(&q)
		if q.Stream != nil && !*q.Stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"model":"m","message":{"content":"one"},"done":true,"prompt_eval_count":7,"eval_count":5}`)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		send(w, `{"model":"m","message":{"content":"one"},"done":false}`+"\n")
		send(w, `{"model":"m","done":true,"prompt_eval_count":7,"eval_count":5}`+"\n")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestTokensAreLimited has models behind the gate with and without ai-proxy, and looks at what is
// left after whole answers, streams, failures and clients that go away.
func TestTokensAreLimited(t *testing.T) {
	t.Parallel()
	up := tokens(t)
	p := run(t, t.TempDir())
	admin, proxy := p.URLs["admin"], p.URLs["proxy"]
	put(t, admin+"/services/models", `{"url":"`+up.URL+`"}`)
	const limit = 1000
	proxied := func(format, path string) string {
		return `{"name":"ai-proxy","config":{"route_type":"llm/v1/chat","model":{"provider":"` + format + `","options":{"llama2_format":"ollama","upstream_url":"` + up.URL + path + `"}}}}`
	}
	routes := []struct {
		name, path, plugin string
		aborts             bool // the stand-in can be left in the middle
	}{
		{"openai", "/v1/chat/completions", "", true},
		{"ollama", "/api/chat", "", false},
		{"proxied", "/v1/chat/completions", proxied("openai", "/v1/chat/completions"), true},
		{"translated", "/api/chat", proxied("llama2", "/api/chat"), false},
	}
	for _, r := range routes {
		put(t, admin+"/services/models/routes/"+r.name, `{"paths":["/`+r.name+`"]}`)
		for _, plugin := range []string{fmt.Sprintf(`{"name":"ai-token-limiting","config":{"total":{"year":%d}}}`, limit), r.plugin} {
			if plugin == "" {
				continue
			}
			if code, out := call(t, http.MethodPost, admin+"/routes/"+r.name+"/plugins", plugin); code != http.StatusCreated {
				t.Fatalf("POST plugin: %d %s", code, out)
			}
		}
	}
	ask := func(ctx context.Context, route, path, body string) *http.Response {
		t.Helper()
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, proxy+"/"+route+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	left := func(res *http.Response) int {
		n, err := strconv.Atoi(res.Header.Get("X-AI-RateLimit-Remaining-Total-Year"))
		if err != nil {
			t.Errorf("no rest is told: %v", res.Header)
		}
		return n
	}
	// settled asks for more than is allowed, which tells how much that is and takes nothing.
	settled := func(route, path string, want int) {
		t.Helper()
		stack.Eventually(t, func() error {
			res := ask(t.Context(), route, path, `{"model":"m","messages":[],"max_tokens":1001}`)
			res.Body.Close()
			if res.StatusCode != http.StatusTooManyRequests || left(res) != want {
				return fmt.Errorf("%s: %d with %d left, want 429 and %d", route, res.StatusCode, left(res), want)
			}
			return nil
		})
	}
	for _, r := range routes {
		rest := limit
		for _, stream := range []string{"false", "true"} {
			res := ask(t.Context(), r.name, r.path, `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":90,"stream":`+stream+`}`)
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK || strings.Contains(string(got), `"choices":[]`) {
				t.Errorf("%s: %d %s %v", r.name, res.StatusCode, got, err)
			}
			rest -= 12
			settled(r.name, r.path, rest)
		}
		if !r.aborts {
			continue
		}
		res := ask(t.Context(), r.name, r.path, `{"model":"broken","messages":[{"role":"user","content":"hi"}]}`)
		res.Body.Close()
		settled(r.name, r.path, rest)
		ctx, leave := context.WithCancel(t.Context())
		res = ask(ctx, r.name, r.path, `{"model":"slow","messages":[{"role":"user","content":"hi"}],"max_tokens":90,"stream":true}`)
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || !strings.Contains(line, "one two three four") {
			t.Errorf("%s: first line %q, %v", r.name, line, err)
		}
		if n := left(res); n != rest-90-6 {
			t.Errorf("%s: %d left while a stream runs, want 90 and the prompt's 6 reserved of %d", r.name, n, rest)
		}
		leave()
		res.Body.Close()
		// 19 letters came: 5 tokens. The prompt is guessed, or what ai-proxy guessed.
		guess := 6
		if r.plugin != "" {
			guess = 2
		}
		settled(r.name, r.path, rest-5-guess)
	}
	for _, bad := range []struct{ config, want string }{
		{`{}`, "at least one of these fields must be non-empty"},
		{`{"cost":{"year":1}}`, "input_cost"},
		{`{"total":{"minute":10,"second":20}}`, "minute"},
		{`{"total":{"minute":-1}}`, "must be greater than 0"},
		{`{"total":{"minute":1},"reserve":"all"}`, "expected one of: most, usual, nothing"},
	} {
		if code, out := call(t, http.MethodPost, admin+"/plugins", `{"name":"ai-token-limiting","config":`+bad.config+`}`); code != http.StatusBadRequest || !strings.Contains(out, bad.want) {
			t.Errorf("POST %s: %d %s, want 400 with %q", bad.config, code, out, bad.want)
		}
	}
}
