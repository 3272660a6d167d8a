package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// window shows and ends change windows: the writes that carry one Sekifuda-Window token.
func window(ctx context.Context, c *call) error {
	f := c.flags("list | publish TOKEN | drop TOKEN [FLAGS]")
	admin := f.adminFlag()
	f.tlsFlags()
	f.tokenFlag()
	message := f.String("message", "", "why, kept with the revision")
	if err := f.parse(); err != nil {
		return err
	}
	words := f.Args()
	a := &restAdmin{url: *admin, reason: *message}
	var err error
	if a.client, err = f.httpClient(); err != nil {
		return err
	}
	if a.token, err = f.token(); err != nil {
		return err
	}
	switch {
	case len(words) == 1 && words[0] == "list":
		return a.listWindows(ctx, c.out)
	case len(words) == 2 && words[0] == "publish":
		var done struct{ Revision, Entities uint64 }
		if err := a.call(ctx, http.MethodPost, windowPath(words[1])+"/publish", &done); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "revision %d, %d entities\n", done.Revision, done.Entities)
		return nil
	case len(words) == 2 && words[0] == "drop":
		return a.call(ctx, http.MethodDelete, windowPath(words[1]), nil)
	}
	f.Usage()
	return errUsage
}

func windowPath(token string) string { return "/sekifuda/windows/" + url.PathEscape(token) }

func (a *restAdmin) listWindows(ctx context.Context, w io.Writer) error {
	var list struct {
		Data []struct {
			Token     string
			Entities  int
			CreatedAt int64 `json:"created_at"`
		}
	}
	if err := a.call(ctx, http.MethodGet, "/sekifuda/windows", &list); err != nil {
		return err
	}
	for _, row := range list.Data {
		fmt.Fprintf(w, "%s  %d entities  since %s\n", row.Token, row.Entities, time.Unix(row.CreatedAt, 0).Format(time.DateTime))
	}
	fmt.Fprintf(w, "%d windows\n", len(list.Data))
	return nil
}

// adminFlag names the Admin API (REST) to call.
func (f *flags) adminFlag() *string {
	return f.String("admin", "http://127.0.0.1:8001", "URL of the Admin API (REST)")
}

// restAdmin calls an Admin API (REST): ours or Kong's.
type restAdmin struct {
	url    string
	reason string // of what is written
	token  string // of who asks
	client *http.Client
}

// maxAnswer bounds what is read of one answer: a page of a thousand entities of the largest
// size that there may be.
const maxAnswer = 1 << 30

// call sends a request without a body and decodes the answer into out, if any is wanted.
func (a *restAdmin) call(ctx context.Context, method, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.url, "/")+path, nil)
	if err != nil {
		return err
	}
	if a.reason != "" {
		req.Header.Set("Sekifuda-Reason", a.reason)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := cmp.Or(a.client, http.DefaultClient).Do(req)
	if err != nil {
		return fmt.Errorf("no Admin API answers: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if res.StatusCode >= 300 {
		return &refusedCall{res.StatusCode, messageOf(raw)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// refusedCall is an answer that is no success.
type refusedCall struct {
	status  int
	message string
}

func (e *refusedCall) Error() string {
	if e.message == "" {
		return fmt.Sprintf("the Admin API answered %d", e.status)
	}
	return e.message
}

// status is that of a refused call; 0 for any other error.
func statusOf(err error) int {
	var r *refusedCall
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

func messageOf(raw []byte) string {
	var body struct{ Message string }
	_ = json.Unmarshal(raw, &body) // a page of HTML has none
	return body.Message
}
