// Package standardwebhooks lets webhooks in that are signed as the Standard Webhooks
// specification says.
//
// It knows the three headers and what the signature covers. Enter at Definition.
package standardwebhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultTolerance = 300 * time.Second

// maxTolerance is the longest that a duration holds.
const maxTolerance = 1 << 33

// New reads the secret. It is used as it stands, as by Kong 3.9.1; one in the specification's
// form, "whsec_" and base64, also by what it encodes.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	if c.GetSecretV1() == "" {
		return nil, errors.New("config.secret_v1: required field missing")
	}
	f := &filter{secrets: [][]byte{[]byte(c.GetSecretV1())}, tolerance: defaultTolerance}
	if encoded, ok := strings.CutPrefix(c.GetSecretV1(), "whsec_"); ok {
		if secret, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(secret) > 0 {
			f.secrets = append(f.secrets, secret)
		}
	}
	if c.ToleranceSecond != nil {
		f.tolerance = time.Duration(min(c.GetToleranceSecond(), maxTolerance)) * time.Second
	}
	return f, nil
}

type filter struct {
	secrets   [][]byte
	tolerance time.Duration
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest refuses what is not signed, or not now.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	h := &x.Request.Header
	id, signatures, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Signature"), h.Get("Webhook-Timestamp")
	switch {
	case id == "" || signatures == "" || stamp == "":
		return refuse("header-missing")
	case !f.now(x, stamp):
		return refuse("wrong-time")
	}
	body, err := x.ReadBody(0)
	if err != nil {
		return refuse("body-unreadable")
	}
	if !f.signed(id, stamp, body, signatures) {
		return refuse("wrong-signature")
	}
	return plugin.Next
}

// now tells whether a timestamp, in Unix seconds, is near enough on either side.
func (f *filter) now(x *plugin.Exchange, stamp string) bool {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || seconds <= 0 || seconds > maxTolerance {
		return false
	}
	return x.Times.Start.Truncate(time.Second).Sub(time.Unix(seconds, 0)).Abs() <= f.tolerance
}

// signed looks for a good signature among those that are separated by spaces: a sender whose
// secret changes sends one by each.
func (f *filter) signed(id, stamp string, body []byte, signatures string) bool {
	for _, secret := range f.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		for one := range strings.SplitSeq(signatures, " ") {
			encoded, ok := strings.CutPrefix(one, "v1,")
			if !ok {
				continue
			}
			if given, err := base64.StdEncoding.DecodeString(encoded); err == nil && hmac.Equal(given, want) {
				return true
			}
		}
	}
	return false
}

func refuse(reason string) plugin.Verdict {
	return plugin.Deny(http.StatusBadRequest, "Bad request").Because(reason)
}
