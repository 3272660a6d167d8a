// Package function is how plugins answer with what a function in a cloud says: the client that
// calls it, and the answer that a client gets.
//
// It knows HTTP; which function is called, and how it is asked, is a plugin's. It is no plugin.
// Enter at NewClient and Answer.
package function

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// MaxAnswer bounds an answer: what Lambda sends at most, and some more.
const MaxAnswer = 16 << 20

// Options say how functions are called.
type Options struct {
	Timeout   time.Duration // for a call and its answer
	Keepalive time.Duration // of a connection that nobody uses
	Insecure  bool          // certificates are not checked
	Proxy     string        // URL of a forward proxy; "": none
}

// NewClient makes a client of functions. It connects to nothing; an error is in the user's
// words.
func NewClient(o Options) (*http.Client, error) {
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: o.Insecure}, //nolint:gosec // what the user says
		MaxIdleConnsPerHost: 64, IdleConnTimeout: o.Keepalive, DisableKeepAlives: o.Keepalive <= 0, DisableCompression: true,
	}
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("could not parse url %q", o.Proxy)
		}
		t.Proxy = http.ProxyURL(u)
	}
	return &http.Client{
		Timeout: o.Timeout, Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Milliseconds reads a setting; nil is otherwise.
func Milliseconds(n *float64, otherwise float64) time.Duration {
	if n == nil {
		n = &otherwise
	}
	return time.Duration(*n * float64(time.Millisecond))
}

// Call sends a request and returns the answer with its whole body.
func Call(c *http.Client, r *http.Request) (*http.Response, []byte, error) {
	answer, err := c.Do(r)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err // without the URL, which may hold a key
		}
		return nil, nil, fmt.Errorf("call function: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswer+1))
	if err == nil && len(body) > MaxAnswer {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the function's answer: %w", err)
	}
	return answer, body, nil
}

// perConnection are lines that are about one connection, or that the gate says itself.
var perConnection = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "upgrade": true, "transfer-encoding": true,
	"te": true, "trailer": true, "content-length": true,
}

// PerConnection reports whether a header line is about one connection, or the gate's own to say.
func PerConnection(name string) bool { return perConnection[strings.ToLower(name)] }

// Answer ends the exchange with what a function said.
func Answer(x *plugin.Exchange, status int, header http.Header, body []byte) plugin.Verdict {
	for name, values := range header {
		if PerConnection(name) || strings.EqualFold(name, "Content-Type") {
			continue
		}
		x.Early.Del(name)
		for _, value := range values {
			x.Early.Append(name, value)
		}
	}
	return plugin.Exit(status, header.Get("Content-Type"), string(body)).Because("function")
}
