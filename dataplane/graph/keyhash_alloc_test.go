//go:build !race

package graph

import (
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// TestAllocHashedKeys is not for the race detector, which empties pools.
func TestAllocHashedKeys(t *testing.T) {
	d := hashed(t, "secret").Directory()
	if n := testing.AllocsPerRun(1000, func() { d.Credential(plugin.KeyCredentials, "secret") }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}
