package httplog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Kong's defaults, for a config that did not go through the schema.
const (
	defaultTimeoutMS   = 10000
	defaultKeepaliveMS = 60000
	defaultType        = "application/json"
	// answerSize bounds what is read of an answer, only to use its connection again.
	answerSize = 64 << 10
)

// target is the server that entries go to.
type target struct {
	url     string
	method  string
	header  http.Header
	array   bool // a batch is a JSON array
	timeout time.Duration
	client  *http.Client
}

func newTarget(c *Config) (*target, error) {
	u, err := url.Parse(c.GetHttpEndpoint())
	switch {
	case err != nil:
		return nil, fmt.Errorf("config.http_endpoint: could not parse url. %w", err)
	case u.Scheme == "":
		return nil, errors.New("config.http_endpoint: missing scheme in url")
	case u.Host == "":
		return nil, errors.New("config.http_endpoint: missing host in url")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("config.http_endpoint: scheme %q is neither http nor https", u.Scheme)
	}
	t := &target{method: c.GetMethod(), header: http.Header{}, timeout: outbox.Milliseconds(c.Timeout, defaultTimeoutMS)}
	if t.method == "" {
		t.method = http.MethodPost
	}
	t.header.Set("Content-Type", defaultType)
	if c.GetContentType() != "" {
		t.header.Set("Content-Type", c.GetContentType())
	}
	for name, value := range c.GetHeaders() {
		t.header.Set(name, value)
	}
	if u.User != nil {
		if t.header.Get("Authorization") != "" {
			return nil, errors.New("config: specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed")
		}
		password, _ := u.User.Password()
		r := http.Request{Header: t.header}
		r.SetBasicAuth(u.User.Username(), password)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	// Kong 3.9.1 sends neither the query nor the fragment.
	t.url = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	s, err := settingsOf(c)
	t.array = s.Batch > 1
	t.client = newClient(outbox.Milliseconds(c.Keepalive, defaultKeepaliveMS))
	return t, err
}

// newClient goes straight to the server: no proxy of the environment, no redirects, and, as
// in Kong, no check of its certificate.
func newClient(keepalive time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // Kong 3.9.1 does not verify either
			IdleConnTimeout:     keepalive,
			MaxIdleConnsPerHost: 2,
			MaxConnsPerHost:     outbox.ManySenders,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send sends a batch once. Any status from 300 on is a failure.
func (t *target) send(ctx context.Context, batch [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	body := batch[0]
	if t.array {
		body = append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
	}
	r, err := http.NewRequestWithContext(ctx, t.method, t.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make log request: %w", err)
	}
	r.Header = t.header.Clone()
	answer, err := t.client.Do(r)
	if err != nil {
		return fmt.Errorf("send log entries: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerSize))
	if answer.StatusCode >= 300 {
		return fmt.Errorf("log server answered %s", answer.Status)
	}
	return nil
}
