package plugin_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

func TestFaultsNameTheirFields(t *testing.T) {
	t.Parallel()
	err := errors.Join(errors.New("config.add.headers[2]: x: y"), fmt.Errorf("config.key_names: %w", errors.New("bad")), errors.New("no field"), errors.New("config is odd"))
	var got []string
	for field, reason := range plugin.Faults(err) {
		got = append(got, field+"|"+reason)
	}
	if s := fmt.Sprint(got); s != "[config.add.headers[2]|x: y config.key_names|bad config|no field config|config is odd]" {
		t.Errorf("faults = %s", s)
	}
}
