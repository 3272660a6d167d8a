// Package botdetection turns away clients whose User-Agent looks like a robot's.
//
// It knows agents by their text alone. Enter at Definition.
package botdetection

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the rules. They are RE2 expressions, matched anywhere in the agent and with
// regard to case.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	allow, err := compile("config.allow", c.GetAllow())
	if err != nil {
		return nil, err
	}
	deny, err := compile("config.deny", c.GetDeny())
	if err != nil {
		return nil, err
	}
	return &filter{allow: allow, deny: append(deny, robots()), known: newVerdicts()}, nil
}

func compile(field string, rules []string) ([]*regexp.Regexp, error) {
	all := make([]*regexp.Regexp, 0, len(rules)+1)
	for _, rule := range rules {
		re, err := regexp.Compile(rule)
		if err != nil {
			return nil, fmt.Errorf("%s: '%s' is not a valid regex: %w", field, rule, err)
		}
		all = append(all, re)
	}
	return all, nil
}

type filter struct {
	allow, deny []*regexp.Regexp
	known       *verdicts
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest lets an allowed agent pass before any deny rule is read, as Kong does. A request
// without an agent passes.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	agent, ok := x.Request.Header.Lookup("User-Agent")
	if !ok {
		return plugin.Next
	}
	if x.Request.Header.Count("User-Agent") > 1 {
		return plugin.Deny(http.StatusBadRequest, "Only one User-Agent header allowed").Because("two-agents")
	}
	if f.robot(strings.TrimSpace(agent)) {
		return plugin.Deny(http.StatusForbidden, "").Because("robot")
	}
	return plugin.Next
}

func (f *filter) robot(agent string) bool {
	if robot, ok := f.known.lookup(agent); ok {
		return robot
	}
	robot := !matches(f.allow, agent) && matches(f.deny, agent)
	f.known.keep(agent, robot)
	return robot
}

func matches(rules []*regexp.Regexp, agent string) bool {
	for _, re := range rules {
		if re.MatchString(agent) {
			return true
		}
	}
	return false
}
