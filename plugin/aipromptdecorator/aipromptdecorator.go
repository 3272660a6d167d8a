// Package aipromptdecorator puts messages around those of a chat.
//
// It knows the messages of a request; it does not know models. Enter at Definition.
package aipromptdecorator

import (
	"fmt"
	"slices"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New makes the messages ready.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	if format := c.GetLlmFormat(); format != "" && format != "openai" {
		return nil, fmt.Errorf("config.llm_format: %s is not supported yet", format)
	}
	return &filter{
		prepend: messages(c.GetPrompts().GetPrepend()), append: messages(c.GetPrompts().GetAppend()),
		limit: c.GetMaxRequestBodySize(),
	}, nil
}

func messages(configured []*Config_Message) []any {
	all := make([]any, 0, len(configured))
	for _, m := range configured {
		role := m.GetRole()
		if m.Role == nil {
			role = "system"
		}
		all = append(all, llm.Object{"role": role, "content": m.GetContent()})
	}
	return all
}

type filter struct {
	prepend, append []any
	limit           int64
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest writes the chat anew.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	request := llm.Read(x, f.limit)
	if request == nil {
		return llm.Refuse("this LLM route only supports application/json requests", "no-json")
	}
	said := llm.Messages(request)
	if len(said) == 0 {
		return llm.Refuse("this LLM route only supports llm/chat type requests", "no-chat")
	}
	request["messages"] = slices.Concat(f.prepend, said, f.append)
	llm.Store(x, request)
	return plugin.Next
}
