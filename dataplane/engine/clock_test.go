package engine

import (
	"testing"
	"time"
)

func TestClockKeepsTime(t *testing.T) {
	t.Parallel()
	c := newClock()
	// What it began with is an hour old, as after an hour without a request.
	old := time.Now().Add(-time.Hour)
	c.base.Store(&old)
	last := old
	for range 1000 {
		before := time.Now()
		now := c.now()
		after := time.Now()
		if now.Before(before) || now.After(after) || now.Before(last) {
			t.Fatalf("the clock says %v between %v and %v, after %v", now, before, after, last)
		}
		last = now
	}
	if age := time.Since(*c.base.Load()); age > time.Minute {
		t.Errorf("the wall clock was read %v ago", age)
	}
}
