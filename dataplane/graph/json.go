package graph

import (
	"slices"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin/logentry"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// object writes an entity as log entries carry it: Kong's names, nothing for null.
type object struct{ b []byte }

func (o *object) name(name string) {
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = appendJSON(o.b, name)
	o.b = append(o.b, ':')
}

func (o *object) text(name string, v *string) {
	if v != nil {
		o.name(name)
		o.b = appendJSON(o.b, *v)
	}
}

func (o *object) number(name string, v *int64) {
	if v != nil {
		o.name(name)
		o.b = strconv.AppendInt(o.b, *v, 10)
	}
}

func (o *object) flag(name string, v *bool) {
	if v != nil {
		o.name(name)
		o.b = strconv.AppendBool(o.b, *v)
	}
}

// ref writes a reference to another entity.
func (o *object) ref(name string, id *string) {
	if id != nil {
		o.name(name)
		o.b = append(o.b, `{"id":`...)
		o.b = append(appendJSON(o.b, *id), '}')
	}
}

func (o *object) list(name string, v []string) {
	if len(v) > 0 {
		o.name(name)
		o.b = appendList(o.b, v)
	}
}

func (o *object) lists(name string, v map[string]*entityv1.Strings) {
	if len(v) == 0 {
		return
	}
	o.name(name)
	var in object
	for _, key := range sorted(v) {
		in.name(key)
		in.b = appendList(in.b, v[key].GetValues())
	}
	o.b = append(o.b, in.end()...)
}

func (o *object) end() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return slices.Clip(append(o.b, '}'))
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, s)
	}
	return append(b, ']')
}

func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// workspace is the id of the one workspace there is, as log entries name it.
var workspace = logentry.Workspace

func routeJSON(m *entityv1.Route) []byte {
	var o object
	o.text("id", m.Id)
	o.number("created_at", m.CreatedAt)
	o.number("updated_at", m.UpdatedAt)
	o.text("name", m.Name)
	o.list("protocols", m.Protocols)
	o.number("https_redirect_status_code", m.HttpsRedirectStatusCode)
	o.flag("strip_path", m.StripPath)
	o.flag("preserve_host", m.PreserveHost)
	o.flag("request_buffering", m.RequestBuffering)
	o.flag("response_buffering", m.ResponseBuffering)
	o.list("tags", m.Tags)
	o.ref("service", m.Service)
	o.list("snis", m.Snis)
	o.list("methods", m.Methods)
	o.list("hosts", m.Hosts)
	o.list("paths", m.Paths)
	o.lists("headers", m.Headers)
	o.number("regex_priority", m.RegexPriority)
	o.text("path_handling", m.PathHandling)
	o.text("ws_id", &workspace)
	return o.end()
}

func serviceJSON(m *entityv1.Service) []byte {
	var o object
	o.text("id", m.Id)
	o.number("created_at", m.CreatedAt)
	o.number("updated_at", m.UpdatedAt)
	o.text("name", m.Name)
	o.number("retries", m.Retries)
	o.text("protocol", m.Protocol)
	o.text("host", m.Host)
	o.number("port", m.Port)
	o.text("path", m.Path)
	o.number("connect_timeout", m.ConnectTimeout)
	o.number("write_timeout", m.WriteTimeout)
	o.number("read_timeout", m.ReadTimeout)
	o.list("tags", m.Tags)
	o.ref("client_certificate", m.ClientCertificate)
	o.flag("tls_verify", m.TlsVerify)
	o.number("tls_verify_depth", m.TlsVerifyDepth)
	o.list("ca_certificates", m.CaCertificates)
	o.flag("enabled", m.Enabled)
	o.text("ws_id", &workspace)
	return o.end()
}

func consumerJSON(m *entityv1.Consumer) []byte {
	var o object
	o.text("id", m.Id)
	o.number("created_at", m.CreatedAt)
	o.number("updated_at", m.UpdatedAt)
	o.text("username", m.Username)
	o.text("custom_id", m.CustomId)
	o.list("tags", m.Tags)
	o.text("ws_id", &workspace)
	return o.end()
}
