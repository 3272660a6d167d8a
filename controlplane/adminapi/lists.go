package adminapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

const (
	defaultSize = 100
	maxSize     = 1000
	maxTags     = 5
)

func (a *API) list(t *schema.Table) handler {
	return func(q *request) error {
		args := q.r.URL.Query()
		if t.Kind == "consumers" && args.Has("custom_id") {
			return q.consumerByCustomID(t, args.Get("custom_id"))
		}
		lq, err := listQuery(args)
		if err != nil {
			return err
		}
		if lq.AllTags, lq.AnyTags, err = q.parseTags(args); err != nil {
			return err
		}
		return q.page1(t, lq, "/"+t.Path, args)
	}
}

func (a *API) listUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		lq, err := listQuery(q.r.URL.Query())
		if err != nil {
			return err
		}
		lq.Under = under
		// Kong's nested lists forget size and tags in "next".
		return q.page1(child, lq, q.path(), nil)
	}
}

// path is the request's path as the client wrote it.
func (q *request) path() string { return strings.TrimSuffix(q.r.URL.EscapedPath(), "/") }

// page1 answers one page of a list; args are repeated in "next".
func (q *request) page1(t *schema.Table, lq config.ListQuery, path string, args url.Values) error {
	list, more, err := q.Config.List(q.r.Context(), t, lq)
	if err != nil {
		return err
	}
	data := make([]any, 0, len(list))
	for _, e := range list {
		b, err := q.render(e)
		if err != nil {
			return err
		}
		data = append(data, b)
	}
	body := map[string]any{"data": data, "next": nil}
	if more {
		offset := encodeOffset(list[len(list)-1].ID)
		body["offset"] = offset
		body["next"] = nextURL(path, offset, args)
	}
	q.json(http.StatusOK, body)
	return nil
}

func nextURL(path, offset string, args url.Values) string {
	s := path + "?offset=" + escapeURI(offset)
	for _, name := range []string{"tags", "size"} {
		if v := args.Get(name); v != "" {
			s += "&" + name + "=" + escapeURI(v)
		}
	}
	return s
}

// escapeURI escapes as nginx does: a space is %20.
func escapeURI(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// An offset is Kong's: the base64 of the JSON array of the last row's primary key.
func encodeOffset(parts ...string) string {
	raw, _ := json.Marshal(parts) // strings always encode
	return base64.StdEncoding.EncodeToString(raw)
}

func decodeOffset(s string, n int) ([]string, error) {
	bad := func(why string) error {
		return &fault.Error{Kind: fault.InvalidOffset, Message: fmt.Sprintf("'%s' is not a valid offset: bad %s encoding", s, why)}
	}
	raw, err := decodeBase64(s)
	if err != nil {
		return nil, bad("base64")
	}
	var parts []string
	if err := json.Unmarshal(raw, &parts); err != nil || len(parts) != n {
		return nil, bad("json")
	}
	return parts, nil
}

// decodeBase64 is as lax as Kong's: padding is free, and a last lone character is dropped.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if len(s)%4 == 1 {
		return nil, fmt.Errorf("base64 of %d characters", len(s))
	}
	return base64.RawStdEncoding.DecodeString(s)
}

func listQuery(args url.Values) (config.ListQuery, error) {
	lq := config.ListQuery{Size: defaultSize}
	if args.Has("size") {
		n, err := parseSize(args.Get("size"))
		if err != nil {
			return lq, err
		}
		lq.Size = n
	}
	if args.Has("offset") {
		parts, err := decodeOffset(args.Get("offset"), 1)
		if err != nil {
			return lq, err
		}
		lq.After = parts[0]
	}
	return lq, nil
}

func parseSize(s string) (int, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, &fault.Error{Kind: fault.InvalidSize, Message: "size must be a number"}
	}
	if f != math.Trunc(f) || f < 1 || f > maxSize {
		return 0, &fault.Error{Kind: fault.InvalidSize, Message: "size must be an integer between 1 and 1000"}
	}
	return int(f), nil
}

func (q *request) parseTags(args url.Values) (all, anyOf []string, err error) {
	if !args.Has("tags") {
		return nil, nil, nil
	}
	v := args.Get("tags")
	invalid := func(why string) error {
		return &fault.Error{
			Kind: fault.InvalidOptions, Message: "invalid option (tags: " + why + ")",
			Fields: fault.Tree{"tags": why},
		}
	}
	switch {
	case v == "":
		return nil, nil, invalid("cannot be null")
	case strings.Contains(v, ",") && strings.Contains(v, "/"):
		return nil, nil, invalid("invalid filter syntax")
	case strings.Contains(v, "/"):
		anyOf = strings.Split(v, "/")
	default:
		all = strings.Split(v, ",")
	}
	if len(all)+len(anyOf) > maxTags {
		return nil, nil, invalid("cannot query more than 5 tags")
	}
	for _, tag := range append(all, anyOf...) {
		if q.Config.Schema().CheckTag(tag) != nil {
			return nil, nil, invalid("invalid filter syntax")
		}
	}
	return all, anyOf, nil
}

func (q *request) consumerByCustomID(t *schema.Table, id string) error {
	if id == "" {
		return &answered{http.StatusBadRequest, "custom_id must be an unempty string"}
	}
	data := []any{}
	e, err := q.Config.FindUnique(q.r.Context(), t, "custom_id", id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if e != nil {
		b, err := q.render(e)
		if err != nil {
			return err
		}
		data = append(data, b)
	}
	q.json(http.StatusOK, map[string]any{"data": data, "next": nil})
	return nil
}

func (q *request) tags(tag string) error {
	args := q.r.URL.Query()
	if f := q.Config.Schema().CheckTag(tag); tag != "" && f != nil {
		return f
	}
	tq := config.TagQuery{Tag: tag, Size: defaultSize}
	if args.Has("size") {
		n, err := parseSize(args.Get("size"))
		if err != nil {
			return err
		}
		tq.Size = n
	}
	if args.Has("offset") {
		p, err := decodeOffset(args.Get("offset"), 3)
		if err != nil {
			return err
		}
		tq.After = &config.Tag{Kind: p[0], ID: p[1], Tag: p[2]}
	}
	tags, more, err := q.Config.Tags(q.r.Context(), tq)
	if err != nil {
		return err
	}
	data := make([]any, 0, len(tags))
	for _, g := range tags {
		data = append(data, map[string]any{"entity_name": g.Kind, "entity_id": g.ID, "tag": g.Tag})
	}
	body := map[string]any{"data": data, "next": nil}
	if more {
		last := tags[len(tags)-1]
		offset := encodeOffset(last.Kind, last.ID, last.Tag)
		body["offset"] = offset
		path := "/tags"
		if tag != "" {
			path += "/" + url.PathEscape(tag)
		}
		body["next"] = nextURL(path, offset, args)
	}
	q.json(http.StatusOK, body)
	return nil
}
