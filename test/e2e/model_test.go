package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// model stands in for a server of language models: it speaks OpenAI's, Anthropic's and Ollama's
// wire formats, and asks for a key as they do. next lets a stream go on.
func model(t *testing.T, next <-chan struct{}) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	stream := func(w http.ResponseWriter, kind string, events ...string) {
		w.Header().Set("Content-Type", kind)
		for i, e := range events {
			if i == 1 {
				<-next
			}
			fmt.Fprint(w, e)
			w.(http.Flusher).Flush()
		}
	}
	asked := func(r *http.Request) (all struct {
		Model    string
		Stream   bool
		System   string
		Messages []struct{ Role, Content string }
	},
	) {
		_ = json.NewDecoder(r.Body).Decode(&all)
		return all
	}
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		q := asked(r)
		switch {
		case r.Header.Get("Authorization") != "Bearer sk-1":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"code":"invalid_api_key"}}`)
		case q.Stream:
			stream(w, "text/event-stream",
				`data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"one"}}]}`+"\n\n",
				`data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" two"}}]}`+"\n\n", "data: [DONE]\n\n")
		default:
			w.Header().Set("Content-Type", "application/json")
			last := q.Messages[len(q.Messages)-1]
			fmt.Fprintf(w, `{"object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q}}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`,
				q.Model+"-0613", q.Messages[0].Content+"/"+last.Content)
		}
	})
	mux.HandleFunc("POST /v1/messages", func(w http.ResponseWriter, r *http.Request) {
		q := asked(r)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"model":%q,"content":[{"type":"text","text":%q}],"stop_reason":"end_turn","usage":{"input_tokens":7,"output_tokens":5}}`,
			q.Model, r.Header.Get("anthropic-version")+"/"+q.System)
	})
	mux.HandleFunc("POST /api/chat", func(w http.ResponseWriter, r *http.Request) {
		stream(w, "application/x-ndjson",
			`{"model":"llama3","message":{"role":"assistant","content":"one"},"done":false}`+"\n",
			`{"model":"llama3","message":{"role":"assistant","content":" two"},"done":false}`+"\n",
			`{"model":"llama3","done":true,"prompt_eval_count":7,"eval_count":5}`+"\n")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestModels leads chats through the gate to servers of three formats, whole and streamed, and
// looks for their tokens in log and metrics.
func TestModels(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	up := model(t, next)
	dir := t.TempDir()
	p := run(t, dir)
	admin, proxy := p.URLs["admin"], p.URLs["proxy"]
	logged := filepath.Join(dir, "requests.log")
	for name, config := range map[string]string{
		"openai":    `"model":{"provider":"openai","name":"gpt","options":{"input_cost":1000000,"output_cost":1000000,"upstream_url":"` + up.URL + `/v1/chat/completions"}},"auth":{"header_name":"Authorization","header_value":"Bearer sk-1"},"logging":{"log_statistics":true}`,
		"nokey":     `"model":{"provider":"openai","name":"gpt","options":{"upstream_url":"` + up.URL + `/v1/chat/completions"}}`,
		"anthropic": `"model":{"provider":"anthropic","name":"claude","options":{"anthropic_version":"2023-06-01","upstream_url":"` + up.URL + `/v1/messages"}}`,
		"ollama":    `"model":{"provider":"llama2","name":"llama3","options":{"llama2_format":"ollama","upstream_url":"` + up.URL + `/api/chat"}}`,
	} {
		put(t, admin+"/routes/"+name, `{"paths":["/`+name+`"]}`)
		if code, out := call(t, "POST", admin+"/routes/"+name+"/plugins", `{"name":"ai-proxy","config":{"route_type":"llm/v1/chat",`+config+`}}`); code != 201 {
			t.Fatalf("POST plugin: %d %s", code, out)
		}
	}
	for _, plugin := range []string{
		`{"name":"ai-prompt-decorator","config":{"prompts":{"prepend":[{"role":"system","content":"be brief"}]}}}`,
		`{"name":"ai-prompt-guard","config":{"deny_patterns":["forbidden"]}}`,
		`{"name":"prometheus","config":{"ai_metrics":true}}`,
		`{"name":"file-log","config":{"path":"` + logged + `"}}`,
	} {
		if code, out := call(t, "POST", admin+"/plugins", plugin); code != 201 {
			t.Fatalf("POST plugin: %d %s", code, out)
		}
	}
	const hello = `{"messages":[{"role":"user","content":"hello"}]}`
	for _, c := range []struct {
		route, body string
		code        int
		want        string
	}{
		{"openai", hello, 200, `"content":"be brief/hello"`},
		{"nokey", hello, 401, "invalid_api_key"},
		{"anthropic", hello, 200, `"content":"2023-06-01/be brief"`},
		{"openai", `{"messages":[{"role":"user","content":"forbidden"}]}`, 400, `{"error":{"message":"bad request"}}`},
		{"openai", `{"model":"own","messages":[{"role":"user","content":"a"}]}`, 400, "cannot use own model - must be: gpt"},
	} {
		if code, out := call(t, "POST", proxy+"/"+c.route, c.body); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("POST /%s %s = %d %s, want %d with %s", c.route, c.body, code, out, c.code, c.want)
		}
	}
	for _, route := range []string{"openai", "ollama"} {
		streams(t, proxy+"/"+route, next)
	}
	stack.Eventually(t, func() error {
		_, metrics := call(t, "GET", p.URLs["status"]+"/metrics", "")
		for _, want := range []string{
			`kong_ai_llm_requests_total{ai_provider="openai",ai_model="gpt",cache_status="",vector_db="",embeddings_provider="",embeddings_model="",workspace="default"} 2`,
			`token_type="prompt_tokens",workspace="default"} `,
		} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("%s is not in the metrics", want)
			}
		}
		entries, err := os.ReadFile(logged)
		if err != nil {
			return err
		}
		if want := `"usage":{"completion_tokens":5,"cost":12,"prompt_tokens":7,`; !strings.Contains(string(entries), want) {
			return fmt.Errorf("%s is not in the log: %s", want, entries)
		}
		return nil
	})
}

// streams asks for a stream and lets it go on only when its first chunk is here: nothing holds
// chunks back.
func streams(t *testing.T, url string, next chan<- struct{}) {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(`{"stream":true,"messages":[{"role":"user","content":"count"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("%s: type %q", url, kind)
	}
	r := bufio.NewReader(res.Body)
	first, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "data: {") || !strings.Contains(first, `"content":"one"`) {
		t.Errorf("%s: first line %q, %v", url, first, err)
	}
	next <- struct{}{}
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), `"content":" two"`) || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%s: then %q, %v", url, rest, err)
	}
}
