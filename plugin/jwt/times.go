package jwt

import (
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// times checks when a token is good, in whole seconds and without leeway. All that is wrong is
// told at once.
func (f *filter) times(x *plugin.Exchange, t *token) plugin.Verdict {
	now := float64(x.Times.Start.Unix())
	var wrong []string
	if f.nbf {
		if nbf, ok := t.number("nbf"); !ok {
			wrong = append(wrong, `"nbf":"must be a number"`)
		} else if nbf > now {
			wrong = append(wrong, `"nbf":"token not valid yet"`)
		}
	}
	exp, isNumber := t.number("exp")
	if f.exp {
		if !isNumber {
			wrong = append(wrong, `"exp":"must be a number"`)
		} else if exp <= now {
			wrong = append(wrong, `"exp":"token expired"`)
		}
	}
	if len(wrong) == 0 && f.maxAhead > 0 && exp-now > f.maxAhead {
		wrong = append(wrong, `"exp":"exceeds maximum allowed expiration"`)
	}
	if len(wrong) == 0 {
		return plugin.Next
	}
	body := "{" + strings.Join(wrong, ",") + "}"
	return plugin.Exit(http.StatusUnauthorized, "application/json; charset=utf-8", body).Because("wrong-time")
}
