// Package requestsizelimiting refuses requests whose body is larger than allowed.
//
// It knows the length a client declared and, when there is none, how to ask for the body
// within the bound; it never looks at what is in it. Enter at Definition.
package requestsizelimiting

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	tooLarge  = "Request size limit exceeded"
	noLength  = "A valid Content-Length header is required"
	megabytes = 128 // Kong's default of allowed_payload_size
)

var units = map[string]int64{"": 1 << 20, "megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}

// New computes the bound in bytes.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	unit, ok := units[c.GetSizeUnit()]
	if !ok {
		return nil, fmt.Errorf("config.size_unit: unknown unit %q", c.GetSizeUnit())
	}
	size := int64(megabytes)
	if c.AllowedPayloadSize != nil {
		size = c.GetAllowedPayloadSize()
	}
	limit := int64(math.MaxInt64)
	if size <= math.MaxInt64/unit {
		limit = size * unit
	}
	return &filter{limit: limit, requireLength: c.GetRequireContentLength()}, nil
}

type filter struct {
	limit         int64
	requireLength bool
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest believes a declared length; without one it measures the body, no further than
// the bound.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	if n, ok := declared(x); ok {
		if n > f.limit {
			return refuse(x)
		}
		return plugin.Next
	}
	// A request without any body has no length either: Kong 3.9.1 refuses it too.
	if f.requireLength && !chunked(x) {
		return plugin.Deny(http.StatusLengthRequired, noLength).Because("no-length")
	}
	if !x.Request.HasBody && x.Request.Length == 0 {
		return plugin.Next
	}
	return f.measure(x)
}

func (f *filter) measure(x *plugin.Exchange) plugin.Verdict {
	// 0 means no bound of ours to ReadBody, so a limit of nothing asks for one byte.
	body, err := x.ReadBody(max(f.limit, 1))
	switch {
	case errors.Is(err, plugin.ErrBodyTooLarge), int64(len(body)) > f.limit:
		return refuse(x)
	case err != nil:
		return plugin.Deny(http.StatusBadRequest, "").Because("body-unreadable")
	}
	return plugin.Next
}

// declared reads Content-Length. One that is no number counts as absent, as in Kong.
func declared(x *plugin.Exchange) (int64, bool) {
	v, ok := x.Request.Header.Lookup("Content-Length")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		// More than 63 bits is larger than any bound.
		return math.MaxInt64, errors.Is(err, strconv.ErrRange)
	}
	return int64(n), true
}

func chunked(x *plugin.Exchange) bool {
	return strings.EqualFold(x.Request.Header.Get("Transfer-Encoding"), "chunked")
}

// refuse answers a client that waits for leave to send its body in its own terms.
func refuse(x *plugin.Exchange) plugin.Verdict {
	status := http.StatusRequestEntityTooLarge
	if strings.EqualFold(x.Request.Header.Get("Expect"), "100-continue") {
		status = http.StatusExpectationFailed
	}
	return plugin.Deny(status, tooLarge).Because("body-too-large")
}
