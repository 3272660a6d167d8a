// Package aitokenlimiting limits what clients use of language models: tokens of prompts and of
// answers, or their cost, in the windows of the calendar.
//
// What a request may use is reserved before it goes upstream and settled by what the model says
// it used. It knows requests and answers in the forms of OpenAI, Ollama and their like; the
// counting is the gate's limiter. Enter at Definition.
package aitokenlimiting

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	defaultMessage   = "AI token limit exceeded"
	defaultMaxTokens = 1024
	defaultBody      = 1 << 20
)

// New asks the gate for the counters of what is limited.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	by, err := counting.By(c.GetLimitBy(), c.GetHeaderName(), c.GetPath())
	if err != nil {
		return nil, err
	}
	f := &filter{
		identifier: by, byModel: c.GetByModel(), log: h.Logger(), usual: newUsual(), reserve: c.GetReserve(),
		maxTokens: defaultMaxTokens, maxBody: defaultBody, askUsage: c.AskUsage == nil || c.GetAskUsage(),
		silent: c.GetHideClientHeaders(), open: c.GetTellMode(), status: http.StatusTooManyRequests, message: defaultMessage,
	}
	if c.DefaultMaxTokens != nil {
		f.maxTokens = c.GetDefaultMaxTokens()
	}
	if c.MaxRequestBodySize != nil {
		f.maxBody = c.GetMaxRequestBodySize()
	}
	if c.ErrorCode != nil {
		f.status = int(c.GetErrorCode())
	}
	if c.ErrorMessage != nil {
		f.message = c.GetErrorMessage()
	}
	if f.resources, err = compile(c); err != nil {
		return nil, err
	}
	return f, f.count(c, h)
}

// count gives each resource its counters.
func (f *filter) count(c *Config, h plugin.Host) error {
	store, err := counting.SharedPlace(c.GetPolicy(), c.GetRedis())
	if err != nil {
		return err
	}
	outage, err := counting.Outage(c.GetOutage(), nil)
	if err != nil {
		return err
	}
	for i := range f.resources {
		r := &f.resources[i]
		rule := plugin.Rule{ID: counting.RuleID("ai_tokens", h.Scope()) + ":" + r.name, Redis: store, Outage: outage}
		for _, w := range r.windows {
			rule.Windows = append(rule.Windows, w.Window.Window)
		}
		if r.limiter, err = h.Limiter(rule); err != nil {
			return fmt.Errorf("config.%s: %w", r.name, err)
		}
	}
	return nil
}

type filter struct {
	resources  []resource
	identifier counting.Identifier
	byModel    bool
	reserve    string // most, usual, nothing
	usual      *usual
	maxTokens  int64 // of an answer whose request says nothing
	maxBody    int64
	askUsage   bool
	log        *slog.Logger
	silent     bool
	open       bool // to those who ask how limits are decided
	status     int
	message    string
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
)
