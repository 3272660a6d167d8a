package engine

import (
	"fmt"
	"strings"
)

// Page is a template of error pages, cut where the message and the request's id stand.
type Page []string

// ParsePage reads a template: its first %s stands for the message, the second for the id of the
// request, %% for a percent sign. As in Kong, nothing that is put in is escaped.
func ParsePage(template string) (Page, error) {
	var p Page
	var text strings.Builder
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "%")
		text.WriteString(before)
		switch {
		case !found:
			if p = append(p, text.String()); len(p) > 3 {
				return nil, fmt.Errorf("%d times %%s, where there are a message and a request's id to put in", len(p)-1)
			}
			return p, nil
		case strings.HasPrefix(after, "s"):
			p = append(p, text.String())
			text.Reset()
		case strings.HasPrefix(after, "%"):
			text.WriteByte('%')
		default:
			return nil, fmt.Errorf("%%%.1s: only %%s and %%%% have a meaning", after)
		}
		rest = after[1:]
	}
}

// pageOf appends the body of an error in a form, by the user's template if there is one.
func (e *Engine) pageOf(f form, b []byte, message, id string) []byte {
	p := e.pages[f]
	if p == nil {
		return f.append(b, message, id)
	}
	for i, text := range p {
		b = append(b, text...)
		if i+1 < len(p) {
			b = append(b, [2]string{message, id}[i]...)
		}
	}
	return b
}
