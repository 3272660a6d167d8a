package awslambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
)

// proxied is an answer that a function words itself.
type proxied struct {
	status int
	header http.Header
	body   []byte
}

// badGateway tells that a function's answer is none.
func badGateway(err error) plugin.Verdict {
	body, encodeErr := json.Marshal(map[string]string{
		"message": "Bad Gateway", "error": "could not JSON decode Lambda function response: " + err.Error(),
	})
	if encodeErr != nil {
		return plugin.Deny(http.StatusBadGateway, "") // not reached: texts encode
	}
	return plugin.Exit(http.StatusBadGateway, "application/json; charset=utf-8", string(body)).Because("function-answer-malformed")
}

// readProxy reads the answer of a function behind a proxy integration.
func readProxy(raw []byte) (*proxied, error) {
	var said struct {
		StatusCode        any            `json:"statusCode"`
		Headers           any            `json:"headers"`
		MultiValueHeaders map[string]any `json:"multiValueHeaders"`
		Body              any            `json:"body"`
		IsBase64Encoded   any            `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, err
	}
	p := &proxied{header: http.Header{}}
	var ok bool
	if p.status, ok = statusOf(said.StatusCode); !ok {
		return nil, errors.New("statusCode validation failed")
	}
	headers, isMap := said.Headers.(map[string]any)
	if said.Headers != nil && !isMap {
		return nil, errors.New("headers must be a table")
	}
	text, isText := said.Body.(string)
	if said.Body != nil && !isText {
		return nil, errors.New("body must be a string")
	}
	packed, isBool := said.IsBase64Encoded.(bool)
	if said.IsBase64Encoded != nil && !isBool {
		return nil, errors.New("isBase64Encoded must be a boolean")
	}
	p.body = []byte(text)
	if packed {
		var err error
		if p.body, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	for _, all := range []map[string]any{headers, said.MultiValueHeaders} {
		for name, value := range all {
			p.header[http.CanonicalHeaderKey(name)] = texts(value)
		}
	}
	return p, nil
}

func statusOf(v any) (int, bool) {
	n, ok := v.(float64)
	if text, isText := v.(string); isText {
		var err error
		n, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	return int(n), ok && n >= 200 && n <= 599 && n == float64(int(n))
}

// texts are the values of a header, which a function may word as numbers and lists, too.
func texts(v any) (all []string) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	case string:
		all = []string{v}
	case nil:
	default:
		all = []string{fmt.Sprint(v)}
	}
	return all
}

var jsonType = regexp.MustCompile(`(?i)application/.*json`)

// legacyArrays shows empty lists as empty objects, as Kong does unless it is told not to. What
// has none stays as the function wrote it.
func legacyArrays(contentType string, body []byte) []byte {
	if !jsonType.MatchString(contentType) {
		return body
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return body
	}
	changed := false
	v = objects(v, &changed)
	if !changed {
		return body
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return body // not reached: what was decoded encodes
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func objects(v any, changed *bool) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			*changed = true
			return map[string]any{}
		}
		for i := range v {
			v[i] = objects(v[i], changed)
		}
	case map[string]any:
		for name := range v {
			v[name] = objects(v[name], changed)
		}
	}
	return v
}
