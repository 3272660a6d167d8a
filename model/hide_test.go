package model_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/model/schema"
)

// TestHide shows entities without what is secret in them, whether it lies deep, in lists, or in an
// older spelling of the same.
func TestHide(t *testing.T) {
	t.Parallel()
	s := all
	for _, c := range []struct{ kind, body, want string }{
		{"keyauth_credentials", `{"key":"top","consumer":{"id":"0001df3c-5b0d-4a6a-9d5c-0a7a3c7c7a11"}}`, `"key":"(secret)"`},
		{"jwt_secrets", `{"secret":"top","consumer":{"id":"0001df3c-5b0d-4a6a-9d5c-0a7a3c7c7a11"}}`, `"secret":"(secret)"`},
		{"plugins", `{"name":"rate-limiting","config":{"minute":5,"policy":"redis","redis":{"host":"h","password":"top"}}}`, `"password":"(secret)"`},
		{"plugins", `{"name":"rate-limiting","config":{"minute":5,"policy":"redis","redis_host":"h","redis_password":"top"}}`, `"redis_password":"(secret)"`},
		{"plugins", `{"name":"loggly","config":{"key":"{vault://env/loggly}"}}`, `"key":"{vault://env/loggly}"`},
		{"plugins", `{"name":"http-log","config":{"http_endpoint":"http://u:top@h.test"}}`, `"http_endpoint":"(secret)"`},
		{"plugins", `{"name":"request-termination","config":{"message":"shown"}}`, `"message":"shown"`},
		{"services", `{"host":"h.test","name":"shown"}`, `"name":"shown"`},
	} {
		table := s.Table(c.kind)
		var body schema.Body
		if err := json.Unmarshal([]byte(c.body), &body); err != nil {
			t.Fatal(err)
		}
		m, err := table.Insert(body, time.Unix(1, 0))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		b := table.Render(m, time.Unix(1, 0))
		table.Hide(m, b)
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), c.want) || strings.Contains(string(raw), "top") {
			t.Errorf("%s is shown as %s, want %s", c.body, raw, c.want)
		}
		d, err := table.Discreet(m)
		if err != nil {
			t.Errorf("%s: Discreet = %v", c.body, err)
			continue
		}
		shown := table.Render(d, time.Unix(1, 0))
		if message, _ := json.Marshal(shown); string(message) != string(raw) {
			t.Errorf("%s is as a message %s, want %s", c.body, message, raw)
		}
		if again, _ := json.Marshal(table.Render(m, time.Unix(1, 0))); strings.Contains(string(again), schema.Hidden) {
			t.Errorf("%s: the entity itself was changed", c.body)
		}
	}
}
