package model

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/model/schema"
)

func serviceMeaning() schema.Meaning {
	return schema.Meaning{Expand: map[string]schema.Expansion{"url": expandURL}}
}

// expandURL takes a service's url apart. What the url does not say is reset, so a url never
// mixes with an older host or path. User, query and fragment are dropped, as Kong does.
func expandURL(value any, _ schema.Body) schema.Body {
	text, ok := value.(string)
	if !ok {
		return nil
	}
	out := schema.Body{"host": nil, "path": nil}
	u, err := url.Parse(text)
	if err != nil {
		return out
	}
	port := 80.0
	if u.Scheme == "https" {
		port = 443
	}
	if n, err := strconv.Atoi(u.Port()); err == nil {
		port = float64(n)
	}
	out["port"] = port
	switch {
	case u.Scheme != "" && u.Host != "":
		out["protocol"] = strings.ToLower(u.Scheme)
	case port == 443:
		out["protocol"] = "https"
	default:
		out["protocol"] = "http"
	}
	if h := u.Hostname(); h != "" {
		out["host"] = h
	}
	if u.Path != "" {
		out["path"] = u.EscapedPath()
	} else if u.Opaque != "" {
		out["path"] = u.Opaque
	}
	return out
}
