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
	q := c.GetQueue()
	if q == nil {
		q = &Config_Queue{}
	}
	s := outbox.Settings{
		Entries: outbox.DefaultEntries, Bytes: outbox.DefaultBytes, Batch: 200,
		Coalesce: seconds(q.MaxCoalescingDelay, 1), RetryFor: seconds(q.MaxRetryTime, 60),
		FirstDelay: seconds(q.InitialRetryDelay, 0.01), MaxDelay: seconds(q.MaxRetryDelay, 60),
	}
	if q.MaxBatchSize != nil {
		s.Batch = int(q.GetMaxBatchSize())
	}
	if q.MaxEntries != nil {
		s.Entries = int(q.GetMaxEntries())
	}
	if q.MaxBytes != nil {
		s.Bytes = q.GetMaxBytes()
	}
	if c.BatchSpanCount != nil {
		s.Batch = int(c.GetBatchSpanCount())
	}
	if c.BatchFlushDelay != nil {
		s.Coalesce = time.Duration(c.GetBatchFlushDelay()) * time.Second
	}
	if s.Batch < 1 || s.Entries < 1 || s.FirstDelay <= 0 || s.MaxDelay <= 0 {
		return s, errors.New("config.queue: value is out of range")
	}
	return s, nil
}

func seconds(n *float64, other float64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other * float64(time.Second))
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
