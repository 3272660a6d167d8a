package proxycache

import (
	"maps"
	"mime"
	"strings"
)

// mediaType is a type with parameters; either half may be "*".
type mediaType struct {
	kind, sub  string
	parameters map[string]string
}

func parseMediaType(text string) (mediaType, bool) {
	if strings.TrimSpace(text) == "*" { // Kong's short form of all
		return mediaType{kind: "*", sub: "*"}, true
	}
	if strings.HasSuffix(strings.TrimSpace(text), ";") {
		return mediaType{}, false // a parameter is missing, which Go's parser forgives
	}
	full, parameters, err := mime.ParseMediaType(text)
	kind, sub, ok := strings.Cut(full, "/")
	if err != nil || !ok {
		return mediaType{}, false
	}
	return mediaType{kind, sub, parameters}, true
}

// mediaTypes reads a list. What is no type matches nothing, as in Kong.
func mediaTypes(list []string) []mediaType {
	var all []mediaType
	for _, text := range list {
		if t, ok := parseMediaType(text); ok {
			all = append(all, t)
		}
	}
	return all
}

func matchesAny(list []mediaType, contentType string) bool {
	t, ok := parseMediaType(contentType)
	if !ok {
		return false
	}
	for _, want := range list {
		if want.matches(t) {
			return true
		}
	}
	return false
}

func (want mediaType) matches(t mediaType) bool {
	if want.kind != "*" && want.kind != t.kind || want.sub != "*" && want.sub != t.sub {
		return false
	}
	return maps.Equal(want.parameters, t.parameters) || len(want.parameters) == 0 && t.gatesCharset()
}

// gatesCharset tells whether all parameters are the charset that the gate gives to texts
// without one, before filters see them. Nginx does it after, so Kong matches the bare type.
func (t mediaType) gatesCharset() bool {
	return len(t.parameters) == 1 && t.parameters["charset"] == "UTF-8" &&
		(t.kind == "text" || t.kind == "application" && (t.sub == "javascript" || t.sub == "rss+xml"))
}
