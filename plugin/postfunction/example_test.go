package postfunction

import (
	"testing"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	c := &Config{}
	plugintest.Example(t, c)
	if _, err := New(c, plugintest.NewHost()); err != nil {
		t.Errorf("New(%v): %v", c, err)
	}
}
