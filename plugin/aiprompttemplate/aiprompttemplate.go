// Package aiprompttemplate makes requests to models of templates that clients call by name.
//
// It knows templates and the properties that fill them; it does not know models. Enter at
// Definition.
package aiprompttemplate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New keeps the templates by name; the first of a name counts.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{
		templates: map[string]string{}, limit: c.GetMaxRequestBodySize(), log: c.GetLogOriginalRequest(),
		strict: c.AllowUntemplatedRequests != nil && !c.GetAllowUntemplatedRequests(),
	}
	for _, t := range c.GetTemplates() {
		if _, ok := f.templates[t.GetName()]; !ok {
			f.templates[t.GetName()] = t.GetTemplate()
		}
	}
	return f, nil
}

type filter struct {
	templates map[string]string
	strict    bool // requests that call none are refused
	log       bool
	limit     int64
}

var (
	_ plugin.RequestFilter = (*filter)(nil)
	_ plugin.LogFilter     = (*filter)(nil)
)

// OnRequest puts the rendered template in the place of the body.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	body := llm.Raw(x, f.limit)
	if f.log {
		x.Put(f, string(body))
	}
	request := llm.Parse(body, x.Request.Header.Get("Content-Type"))
	if request == nil {
		return llm.Refuse("this LLM route only supports application/json requests", "no-json")
	}
	called, problem := call(request)
	if problem != "" {
		return llm.Refuse(problem, "no-prompt")
	}
	if called == "" {
		if f.strict {
			return llm.Refuse("this LLM route only supports templated requests", "no-template")
		}
		return plugin.Next
	}
	template, ok := f.templates[called]
	if !ok {
		return llm.Refuse("could not find template name ["+called+"]", "unknown-template")
	}
	rendered, problem := render(template, request["properties"])
	if problem != "" {
		return llm.Refuse(problem, "wrong-properties")
	}
	llm.StoreRaw(x, []byte(rendered))
	return plugin.Next
}

// OnLog adds the request as it came.
func (f *filter) OnLog(x *plugin.Exchange) {
	if body, ok := x.Value(f).(string); ok {
		llm.Log(x, body, "payload", "original_request")
	}
}

// call returns the name of the template that a request calls; "" when it calls none.
func call(request llm.Object) (name, problem string) {
	messages, chat := present(request, "messages")
	prompt, completion := present(request, "prompt")
	reference := prompt
	switch {
	case chat && completion:
		return "", "cannot run 'messages' and 'prompt' templates at the same time"
	case chat:
		reference = messages
	case !completion:
		return "", "only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating"
	}
	text, _ := reference.(string)
	text, begins := strings.CutPrefix(text, "{template://")
	text, ends := strings.CutSuffix(text, "}")
	if !begins || !ends {
		return "", ""
	}
	return text, ""
}

func present(request llm.Object, name string) (any, bool) {
	v, ok := request[name]
	return v, ok && v != false
}

var place = regexp.MustCompile(`\{\{([A-Za-z0-9_]+)\}\}`)

// render fills the places of a template. The texts are escaped as JSON, so that none of them
// ends the text in which it stands.
func render(template string, properties any) (rendered, problem string) {
	texts, problem := escape(properties)
	if problem != "" {
		return "", problem
	}
	rendered = place.ReplaceAllStringFunc(template, func(p string) string {
		if text, ok := texts[p[2:len(p)-2]]; ok {
			return text
		}
		return p
	})
	var missing []string
	for _, p := range place.FindAllStringSubmatch(rendered, -1) {
		if name := "[" + p[1] + "]"; !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return "", "missing template parameters: " + strings.Join(missing, ", ")
	}
	return rendered, ""
}

func escape(properties any) (texts map[string]string, problem string) {
	if properties == nil {
		return nil, ""
	}
	object, ok := properties.(llm.Object)
	if !ok {
		return nil, "properties must be an object"
	}
	texts = map[string]string{}
	for name, v := range object {
		text, ok := v.(string)
		if !ok {
			return nil, "property values must be a string, got " + kind(v)
		}
		quoted := string(llm.Encode(text))
		texts[name] = quoted[1 : len(quoted)-1]
	}
	return texts, ""
}

// kind is what Lua calls the type of a value.
func kind(v any) string {
	switch v.(type) {
	case json.Number:
		return "number"
	case bool:
		return "boolean"
	case nil:
		return "userdata"
	case []any, llm.Object:
		return "table"
	}
	return fmt.Sprintf("%T", v)
}
