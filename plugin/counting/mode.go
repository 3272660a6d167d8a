package counting

import (
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// AsksMode reports whether a request asks how limits are decided: "Sekifuda-Debug: limits".
func AsksMode(x *plugin.Exchange) bool {
	return strings.Contains(x.Request.Header.Get("Sekifuda-Debug"), "limits")
}
