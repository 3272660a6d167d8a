// Package aipromptguard turns prompts away by what is found in them.
//
// It knows patterns and which messages they are held against; it does not know models. Enter at
// Definition.
package aipromptguard

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the patterns.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{
		latest: c.GetAllowAllConversationHistory(), everyone: c.GetMatchAllRoles(), limit: c.GetMaxRequestBodySize(),
	}
	if format := c.GetLlmFormat(); format != "" && format != "openai" {
		return nil, fmt.Errorf("config.llm_format: %s is not supported yet", format)
	}
	var errAllow, errDeny error
	f.allow, errAllow = compile("config.allow_patterns", c.GetAllowPatterns())
	f.deny, errDeny = compile("config.deny_patterns", c.GetDenyPatterns())
	if err := errors.Join(errAllow, errDeny); err != nil {
		return nil, err
	}
	return f, nil
}

func compile(field string, patterns []string) (all []*regexp.Regexp, err error) {
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: bad regex pattern '%s': %w", field, p, err)
		}
		all = append(all, re)
	}
	return all, nil
}

type filter struct {
	allow, deny []*regexp.Regexp
	latest      bool // only the last message counts
	everyone    bool // messages of all roles count
	limit       int64
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest lets a prompt pass in which no denied pattern is found and, if there are any, one
// that is allowed. It does not tell why it refuses.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	request := llm.Read(x, f.limit)
	if request == nil {
		return llm.Refuse("this LLM route only supports application/json requests", "no-json")
	}
	prompt, ok := f.prompt(request)
	if !ok {
		return llm.Refuse("bad request", "no-prompt")
	}
	found := func(re *regexp.Regexp) bool { return re.MatchString(prompt) }
	if slices.ContainsFunc(f.deny, found) {
		return llm.Refuse("bad request", "denied-prompt")
	}
	if len(f.allow) > 0 && !slices.ContainsFunc(f.allow, found) {
		return llm.Refuse("bad request", "prompt-not-allowed")
	}
	return plugin.Next
}

// prompt joins what is looked at, the latest first. It reports false for messages that are not
// of the form of a chat.
func (f *filter) prompt(request llm.Object) (string, bool) {
	messages, ok := request["messages"].([]any)
	if !ok {
		prompt, ok := request["prompt"].(string)
		return prompt, ok
	}
	var all strings.Builder
	for _, one := range slices.Backward(messages) {
		m, _ := one.(llm.Object)
		role, ok := m["role"].(string)
		if !ok {
			return "", false
		}
		if role != "user" && !f.everyone {
			continue
		}
		content, ok := m["content"].(string)
		if !ok {
			return "", false
		}
		all.WriteString(content)
		if f.latest {
			break
		}
		all.WriteByte(' ')
	}
	return all.String(), true
}
