package counting

import (
	"strconv"
	"testing"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestNumberIsWrittenAsAFloatWouldBe(t *testing.T) {
	t.Parallel()
	x := plugintest.Request{}.Exchange()
	for _, n := range []float64{0, 1, -1, 99, 0.5, 12.25, 1e15, 1e18, 9.3e18, 1e19, 1e300, -0.1} {
		if got, want := Number(x, n), strconv.FormatFloat(n, 'f', -1, 64); got != want {
			t.Errorf("Number(%v) = %q, want %q", n, got, want)
		}
	}
}
