package standardwebhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

// sign makes a signature with the bytes of a secret.
func sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

const (
	id    = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	stamp = "1614265330"
	body  = `{"test": 2432232314}`
	text  = id + "." + stamp + "." + body
)

func ask(f plugin.RequestFilter, body string, at int64, lines ...string) plugin.Verdict {
	x := plugintest.Request{Method: "POST", Body: body, Lines: lines}.Exchange()
	x.Times.Start = time.Unix(at, 0)
	return f.OnRequest(x)
}

// TestSpecification holds the example of the Standard Webhooks specification.
func TestSpecification(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{SecretV1: proto.String("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")})
	lines := []string{"webhook-id: " + id, "webhook-timestamp: " + stamp, "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
	if v := ask(f, body, 1614265330, lines...); v.Done() {
		t.Errorf("the specification's example is refused: %s", v.Reason())
	}
	if v := ask(f, body+" ", 1614265330, lines...); !v.Done() {
		t.Error("a changed body passes")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const now, secret = 1614265330, "s3cret"
	head := func(name, value string) string { return name + ": " + value }
	good := []string{head("Webhook-Id", id), head("Webhook-Timestamp", stamp), head("Webhook-Signature", sign(secret, text))}
	with := func(i int, value string) []string {
		lines := append([]string(nil), good...)
		name, _, _ := strings.Cut(lines[i], ":")
		lines[i] = head(name, value)
		return lines
	}
	tests := []struct {
		name  string
		at    int64
		lines []string
		ok    bool
	}{
		{"good", now, good, true},
		{"late within bounds", now + 300, good, true},
		{"early within bounds", now - 300, good, true},
		{"late", now + 301, good, false},
		{"early", now - 301, good, false},
		{"second signature", now, with(2, "v1,AAAA v2,x "+sign(secret, text)), true},
		{"unknown version", now, with(2, "v2"+strings.TrimPrefix(sign(secret, text), "v1")), false},
		{"other secret", now, with(2, sign("x", text)), false},
		{"no base64", now, with(2, "v1,!"), false},
		{"other id", now, with(0, "x"), false},
		{"no id", now, good[1:], false},
		{"empty id", now, with(0, ""), false},
		{"no signature", now, good[:2], false},
		{"no timestamp", now, []string{good[0], good[2]}, false},
		{"timestamp is no number", now, with(1, "now"), false},
		{"timestamp is not above zero", 0, with(1, "0"), false},
		{"timestamp is beyond all bounds", now, with(1, "9223372036854775807"), false},
	}
	f := build(t, &Config{SecretV1: proto.String(secret)})
	for _, tt := range tests {
		v := ask(f, body, tt.at, tt.lines...)
		if v.Done() == tt.ok || !tt.ok && (v.Status() != 400 || v.Message() != "Bad request") {
			t.Errorf("%s: %d %q (%s)", tt.name, v.Status(), v.Message(), v.Reason())
		}
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	lines := []string{"webhook-id: " + id, "webhook-timestamp: " + stamp, "webhook-signature: " + sign("s", text)}
	for _, tt := range []struct {
		tolerance, at int64
		ok            bool
	}{{0, 1614265330, true}, {0, 1614265331, false}, {1 << 62, 1, true}} {
		f := build(t, &Config{SecretV1: proto.String("s"), ToleranceSecond: &tt.tolerance})
		if v := ask(f, body, tt.at, lines...); v.Done() == tt.ok {
			t.Errorf("tolerance %d at %d: passes %v", tt.tolerance, tt.at, !v.Done())
		}
	}
	if _, err := New(&Config{}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "config.secret_v1") {
		t.Errorf("New without a secret: %v", err)
	}
}

// FuzzHeaders has nothing pass that was not signed.
func FuzzHeaders(f *testing.F) {
	f.Add(id, stamp, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", body)
	f.Add("", "-1", "v1, v1,", "")
	g := build(f, &Config{SecretV1: proto.String("whsec_AAAA")})
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		if v := ask(g, body, 1614265330, "Webhook-Id: "+id, "Webhook-Timestamp: "+stamp, "Webhook-Signature: "+signature); v.Status() != 400 {
			t.Errorf("%q %q %q passes", id, stamp, signature)
		}
	})
}
