package opentelemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// answerSize bounds what is read of an answer, only to use its connection again.
const answerSize = 64 << 10

// target is the collector.
type target struct {
	url      string
	header   http.Header
	resource []byte // the encoded resource of every post
	timeout  time.Duration
	client   *http.Client
}

func newTarget(c *Config, node string) (*target, error) {
	u, err := url.Parse(c.GetTracesEndpoint())
	switch {
	case err != nil:
		return nil, fmt.Errorf("could not parse url. %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	case u.Host == "":
		return nil, errors.New("missing host in url")
	}
	t := &target{url: u.String(), header: http.Header{}, resource: appendResource(nil, c.GetResourceAttributes(), node)}
	for name, value := range c.GetHeaders() {
		t.header.Set(name, value)
	}
	t.header.Set("Content-Type", "application/x-protobuf")
	connect := milliseconds(c.ConnectTimeout, 1000)
	t.timeout = connect + milliseconds(c.SendTimeout, 5000) + milliseconds(c.ReadTimeout, 5000)
	t.client = &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: connect}).DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

func milliseconds(n *int64, other int64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other) * time.Millisecond
}

// settings reads config.queue. The deprecated flat fields count when they are said.
func settings(c *Config) (outbox.Settings, error) {
	s, err := outbox.Read(c.GetQueue(), 200)
	if s.Bytes == 0 {
		s.Bytes = outbox.DefaultBytes
	}
	if c.BatchSpanCount != nil {
		s.Batch = max(int(c.GetBatchSpanCount()), 1)
	}
	if c.BatchFlushDelay != nil {
		s.Coalesce = time.Duration(c.GetBatchFlushDelay()) * time.Second
	}
	return s, err
}

// post sends a batch of encoded spans once.
func (t *target) post(ctx context.Context, batch [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	body := appendRequest(nil, t.resource, batch)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make span request: %w", err)
	}
	r.Header = t.header.Clone()
	answer, err := t.client.Do(r)
	if err != nil {
		return fmt.Errorf("post spans: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerSize))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("collector answered %s", answer.Status)
	}
	return nil
}
