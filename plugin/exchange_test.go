package plugin

import (
	"math"
	"strconv"
	"testing"
	"time"
)

func TestTextStaysWhileMoreIsAdded(t *testing.T) {
	t.Parallel()
	x := &Exchange{}
	x.Bind(nil)
	var got []string
	for i := range 1000 {
		got = append(got, x.Decimal(int64(i)))
	}
	got = append(got, x.Decimal(math.MinInt64), x.Text([]byte("a\x00b")), x.Text(nil))
	for i := range 1000 {
		if got[i] != strconv.Itoa(i) {
			t.Fatalf("Decimal(%d) = %q", i, got[i])
		}
	}
	if got[1000] != "-9223372036854775808" || got[1001] != "a\x00b" || got[1002] != "" {
		t.Errorf("Text = %q", got[1000:])
	}
}

func TestTextDoesNotAllocateOnceItHasGrown(t *testing.T) {
	x := &Exchange{}
	n := testing.AllocsPerRun(100, func() {
		x.Bind(nil)
		x.Decimal(123456789)
		x.Text([]byte("192.0.2.1"))
	})
	if n != 0 {
		t.Errorf("Text allocates %v times, want 0", n)
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.UnixMilli(1700000000000 + int64(ms)) }
	ms := time.Millisecond
	tests := []struct {
		name  string
		times Times
		want  Latencies
	}{
		{"proxied", Times{at(0), at(3), at(23), at(28)}, Latencies{3 * ms, 20 * ms, 5 * ms, 28 * ms}},
		{"answered by the gate", Times{Start: at(0), End: at(4)}, Latencies{4 * ms, -1, 0, 4 * ms}},
		{"the upstream never answered", Times{Start: at(0), Proxied: at(1), End: at(61)}, Latencies{ms, 60 * ms, 0, 61 * ms}},
		{"a clock that stepped back", Times{at(10), at(3), at(2), at(1)}, Latencies{0, 0, 0, 0}},
		{"nothing", Times{}, Latencies{0, -1, 0, 0}},
	}
	for _, tt := range tests {
		x := &Exchange{Times: tt.times}
		if got := x.Latencies(); got != tt.want {
			t.Errorf("%s: Latencies = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
