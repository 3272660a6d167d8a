package statsd

import (
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/stats"
)

// detail is a metric whose name tells who or what it is about. shdict_usage is of nginx's
// memory; there is none here.
func (f *filter) detail(l *stats.Line, x *plugin.Exchange, m *Config_Metric) bool {
	status := strconv.Itoa(x.Response.Status)
	scope, who := f.scope(x, m), f.who(x, m)
	l.Value = "1"
	switch m.GetName() {
	case "status_count":
		l.Name = scope + ".status." + status
		return true
	case "status_count_per_workspace":
		l.Name = scope + ".workspace." + f.where(m) + ".status." + status
		return true
	}
	if who == "" {
		return false
	}
	switch m.GetName() {
	case "unique_users":
		l.Name, l.Value, l.Rate = scope+".user.uniques", who, 0
	case "request_per_user":
		l.Name = scope + ".user." + who + ".request.count"
	case "status_count_per_user":
		l.Name = scope + ".user." + who + ".status." + status
	case "status_count_per_user_per_route":
		if x.Route == nil {
			return false
		}
		l.Name = "route." + x.Route.ID + ".user." + who + ".status." + status
	default:
		return false
	}
	return true
}

// scope is the part of a name that tells the service.
func (f *filter) scope(x *plugin.Exchange, m *Config_Metric) string {
	if x.Service == nil {
		return "global.unmatched"
	}
	name := serviceName(x.Service, or(m.GetServiceIdentifier(), f.service))
	if name == "" {
		name = "unnamed"
	}
	return "service." + stats.Dotless(name)
}

func serviceName(s *plugin.Service, by string) string {
	switch by {
	case "service_id":
		return s.ID
	case "service_name":
		return s.Name
	case "service_host":
		return s.Host
	}
	return s.Label()
}

func (f *filter) who(x *plugin.Exchange, m *Config_Metric) string {
	return stats.Consumer(x, or(m.GetConsumerIdentifier(), or(f.consumer, "custom_id")))
}

func (f *filter) where(m *Config_Metric) string {
	if or(m.GetWorkspaceIdentifier(), f.workspace) == "workspace_name" {
		return "default"
	}
	return logentry.Workspace
}

// tags tell what names do not. Without a service there are none, as in Kong.
func (f *filter) tags(x *plugin.Exchange, m *Config_Metric) string {
	if x.Service == nil {
		return ""
	}
	service := serviceName(x.Service, or(m.GetServiceIdentifier(), f.service))
	if service == "" {
		return ""
	}
	between := "="
	if f.style == "dogstatsd" {
		between = ":"
	}
	tags := []string{"service" + between + service}
	if x.Route != nil {
		tags = append(tags, "route"+between+x.Route.Label())
	}
	tags = append(tags, "workspace"+between+f.where(m))
	if who := f.who(x, m); who != "" {
		tags = append(tags, "consumer"+between+who)
	}
	tags = append(tags, "node"+between+f.node, "status"+between+strconv.Itoa(x.Response.Status))
	return strings.Join(tags, ",")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
