package aitokenlimiting

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// resource is one thing that is limited, with all of its texts made ready.
type resource struct {
	name    string
	windows []window
	limiter plugin.Limiter
	// unit is how many of what is counted make one of what is configured and shown: costs are
	// counted in millionths.
	unit float64
	// of is what a use counts as.
	of func(llm.Usage) int64
}

type window struct {
	counting.Window
	limitHeader, remainHeader string
	reasonExceeded            string
}

// million is how many tokens a price is of, and what costs are counted in parts of.
const million = 1e6

// compile reads the limits.
func compile(c *Config) ([]resource, error) {
	in, out := c.GetInputCost(), c.GetOutputCost()
	if c.Cost != nil && (c.InputCost == nil || c.OutputCost == nil) {
		return nil, errors.New("config.input_cost: required field missing, as config.cost needs both prices")
	}
	var all []resource
	for _, r := range []struct {
		resource
		limit *Config_Limit
	}{
		{resource{name: "total", unit: 1, of: func(u llm.Usage) int64 { return u.Prompt + u.Completion }}, c.Total},
		{resource{name: "prompt", unit: 1, of: func(u llm.Usage) int64 { return u.Prompt }}, c.Prompt},
		{resource{name: "completion", unit: 1, of: func(u llm.Usage) int64 { return u.Completion }}, c.Completion},
		{resource{name: "cost", unit: million, of: func(u llm.Usage) int64 {
			return int64(math.Ceil(float64(u.Prompt)*in + float64(u.Completion)*out))
		}}, c.Cost},
	} {
		if r.limit == nil {
			continue
		}
		if err := r.compile(r.limit); err != nil {
			return nil, err
		}
		all = append(all, r.resource)
	}
	if len(all) == 0 {
		return nil, errors.New("at least one of these fields must be non-empty: 'config.total', 'config.prompt', " +
			"'config.completion', 'config.cost'")
	}
	return all, nil
}

func (r *resource) compile(n *Config_Limit) error {
	where := "config." + r.name
	limits := counting.Limits{n.Second, n.Minute, n.Hour, n.Day, n.Month, n.Year}
	for i, limit := range limits {
		if limit != nil {
			counted := *limit * r.unit
			limits[i] = &counted
		}
	}
	configured, err := counting.Windows(limits, where+".")
	if err != nil {
		return err
	}
	if len(configured) == 0 {
		return errors.New(where + ": at least one of these fields must be non-empty: 'second', 'minute', 'hour', 'day', 'month', 'year'")
	}
	title := strings.ToUpper(r.name[:1]) + r.name[1:] + "-"
	for _, w := range configured {
		w.Text = strconv.FormatFloat((float64(w.Limit)-w.Excess)/r.unit, 'f', -1, 64)
		r.windows = append(r.windows, window{
			Window: w, reasonExceeded: "over-" + r.name + "-" + w.Name,
			limitHeader: "X-AI-RateLimit-Limit-" + title + w.Title, remainHeader: "X-AI-RateLimit-Remaining-" + title + w.Title,
		})
	}
	return nil
}

// tell sets the headers of what is left.
func (r *resource) tell(x *plugin.Exchange, h *plugin.Header, left *[6]int64) {
	for i := range r.windows {
		w := &r.windows[i]
		h.Set(w.limitHeader, w.Text)
		h.Set(w.remainHeader, counting.Number(x, max(0, float64(left[i])-w.Excess)/r.unit))
	}
}

// least is the window of the smallest limit.
func (r *resource) least() *window {
	least := &r.windows[0]
	for i := range r.windows {
		if r.windows[i].Limit < least.Limit {
			least = &r.windows[i]
		}
	}
	return least
}
