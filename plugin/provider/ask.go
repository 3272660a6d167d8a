package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

const (
	// defaultTimeout is Kong's http_timeout, in milliseconds.
	defaultTimeout = 60000
	// maxAnswer bounds what is read of a model's answer.
	maxAnswer = 16 << 20
)

// Settings say how a model is asked to change a text.
type Settings interface {
	GetLlm() *Llm
	GetPrompt() string
	GetTransformationExtractPattern() string
	GetHttpTimeout() int64
	GetHttpsVerify() bool
	GetHttpProxyHost() string
	GetHttpProxyPort() int64
	GetHttpsProxyHost() string
	GetHttpsProxyPort() int64
}

// Editor has a model change texts. It is safe for concurrent use.
type Editor struct {
	log        *slog.Logger
	plugin, id string // as logs name them
	provider   *Provider
	client     *http.Client
	prompt     string
	extract    *regexp.Regexp // nil: the whole answer counts
	statistics bool           // are logged
	payloads   bool           // with them
}

// NewEditor compiles how a plugin's model is asked. What cannot run is an error.
func NewEditor(name string, s Settings, h plugin.Host) (*Editor, error) {
	m := s.GetLlm()
	p, err := New("config.llm", m.GetRouteType(), m.GetAuth(), m.GetModel())
	if err != nil {
		return nil, err
	}
	e := &Editor{
		log: h.Logger().With("plugin", name), plugin: name, id: h.Scope().PluginID, provider: p, prompt: s.GetPrompt(),
		client: client(s), statistics: m.GetLogging().GetLogStatistics(), payloads: m.GetLogging().GetLogPayloads(),
	}
	if pattern := s.GetTransformationExtractPattern(); pattern != "" {
		if e.extract, err = regexp.Compile("(?im)" + pattern); err != nil {
			return nil, fmt.Errorf("config.transformation_extract_pattern: %w", err)
		}
	}
	return e, nil
}

func client(s Settings) *http.Client {
	timeout := s.GetHttpTimeout()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	proxies := map[string]*url.URL{}
	for scheme, at := range map[string][2]string{
		"http":  {s.GetHttpProxyHost(), strconv.FormatInt(s.GetHttpProxyPort(), 10)},
		"https": {s.GetHttpsProxyHost(), strconv.FormatInt(s.GetHttpsProxyPort(), 10)},
	} {
		if at[0] != "" {
			proxies[scheme] = &url.URL{Scheme: "http", Host: net.JoinHostPort(at[0], at[1])}
		}
	}
	return &http.Client{
		Timeout: time.Duration(timeout) * time.Millisecond,
		Transport: &http.Transport{
			Proxy:             func(r *http.Request) (*url.URL, error) { return proxies[r.URL.Scheme], nil },
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: !s.GetHttpsVerify()}, //nolint:gosec // what https_verify says
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Change has the model change a text. The error is in words for the client.
func (e *Editor) Change(x *plugin.Exchange, text []byte) ([]byte, error) {
	c, err := e.provider.Call(x)
	if err != nil {
		return nil, err
	}
	request := llm.Object{"stream": false, "messages": []any{
		llm.Object{"role": "system", "content": e.prompt}, llm.Object{"role": "user", "content": string(text)},
	}}
	c.Count(request)
	start := time.Now()
	answer, err := c.ask(x.Context(), e.client, request, e.log)
	if err != nil {
		return nil, err
	}
	c.Read(answer, e.payloads)
	x.Put(e, &asked{c, time.Since(start)})
	var content string
	if choices := items(llm.Decode(answer)["choices"]); len(choices) > 0 {
		content, _ = inner(choices[0], "message", "content").(string)
	}
	if content == "" {
		return nil, errors.New("no 'choices' in upstream AI service response")
	}
	if e.extract == nil {
		return []byte(content), nil
	}
	found := e.extract.FindString(content)
	if found == "" {
		return nil, errors.New("AI response did not match specified regular expression")
	}
	return []byte(found), nil
}

// asked is a call that is over.
type asked struct {
	call *Call
	took time.Duration
}

// Log tells logs and metrics what the exchange's call was, where configuration wants it.
func (e *Editor) Log(x *plugin.Exchange) {
	if a, ok := x.Value(e).(*asked); ok && e.statistics {
		a.call.Log(x, e.plugin, e.id, a.took, e.payloads)
	}
}

// ask sends a request to the provider and returns its answer in OpenAI's form.
func (c *Call) ask(ctx context.Context, client *http.Client, request llm.Object, log *slog.Logger) ([]byte, error) {
	out, problem := c.Translate(request, log)
	if problem != "" {
		return nil, errors.New(problem)
	}
	body, err := c.post(ctx, client, llm.Encode(out))
	if err != nil {
		return nil, fmt.Errorf("failed to introspect request with AI service: %w", err)
	}
	answer, err := c.Answer(body)
	if err != nil {
		return nil, fmt.Errorf("failed to convert AI response to Kong format: %w", err)
	}
	return answer, nil
}

func (c *Call) post(ctx context.Context, client *http.Client, body []byte) ([]byte, error) {
	u, err := c.target("/")
	if err != nil {
		return nil, err
	}
	u.RawQuery = c.query("", u.RawQuery)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request to ai service failed: %w", err)
	}
	var h plugin.Header
	h.Append("Accept", "application/json")
	h.Append("Content-Type", "application/json")
	c.headers(&h)
	for _, line := range h.Fields() {
		r.Header.Add(line.Name, line.Value)
	}
	answer, err := client.Do(r)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err // without the URL, which may hold a key
		}
		return nil, fmt.Errorf("request to ai service failed: %w", err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case answer.StatusCode > 299:
		return nil, fmt.Errorf("status code %d", answer.StatusCode)
	case err != nil:
		return nil, fmt.Errorf("request to ai service failed: %w", err)
	case len(got) > maxAnswer:
		return nil, errors.New("the answer of the ai service is too large")
	}
	return got, nil
}
