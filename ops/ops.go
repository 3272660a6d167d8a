// Package ops looks at a running installation from outside, as an operator does: it takes
// readings of it and judges them by thresholds.
//
// It knows addresses, Kong's Admin API, and the series of /metrics; it knows nothing of the
// rooms inside, so that what it says is what users get. Enter at Stack.Read and Judge.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Stack is where an installation is reached.
type Stack struct {
	Admin  string   // URL of the Admin API
	Proxy  string   // URL of the proxy
	Status []string // URLs of the nodes' status listeners
	Client *http.Client
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 64 << 20

// askTimeout bounds one question: what takes longer counts as away.
const askTimeout = 10 * time.Second

// Get asks for a URL and returns the whole answer and how long it took.
func (s *Stack) Get(ctx context.Context, url string, header ...string) (status int, body []byte, took time.Duration, err error) {
	return s.Do(ctx, http.MethodGet, url, nil, header...)
}

// Do is Get with a method and a body; header lines are names and values in turn.
func (s *Stack) Do(ctx context.Context, method, url string, body io.Reader, header ...string) (int, []byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, 0, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	begin := time.Now()
	res, err := s.Client.Do(req)
	if err != nil {
		return 0, nil, time.Since(begin), plain(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, raw, time.Since(begin), err
}

// plain takes the URL out of an error: who reads it knows what was asked.
func plain(err error) error {
	if i := strings.LastIndex(err.Error(), `": `); i >= 0 {
		return errors.New(err.Error()[i+3:])
	}
	return err
}

// JSON asks the Admin API for a path.
func (s *Stack) JSON(ctx context.Context, path string, into any) error {
	status, body, _, err := s.Get(ctx, s.Admin+path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answers %d", path, status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Entity is an entity as the Admin API shows it.
type Entity map[string]any

// Text is a member that is a string, "" otherwise.
func (e Entity) Text(name string) string {
	s, _ := e[name].(string)
	return s
}

// Ref is the id of a reference, "" for none.
func (e Entity) Ref(name string) string {
	m, _ := e[name].(map[string]any)
	return Entity(m).Text("id")
}

// Member is a nested record.
func (e Entity) Member(name string) Entity {
	m, _ := e[name].(map[string]any)
	return m
}

// List reads all entities of a path, page by page.
func (s *Stack) List(ctx context.Context, path string) ([]Entity, error) {
	var all []Entity
	for next := path + "?size=1000"; next != ""; {
		var page struct {
			Data []Entity
			Next string
		}
		if err := s.JSON(ctx, next, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		next = page.Next
	}
	return all, nil
}
