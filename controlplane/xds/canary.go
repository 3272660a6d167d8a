package xds

import (
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

const (
	// maxTrials is how many of a group's targets are remembered: a release has two at a time.
	maxTrials = 8
	// maxGroups bounds the groups of which trials are remembered.
	maxGroups = 1000
	// returnWithin is how long a node that left during its trial may take to come back and say
	// what became of it: it may have died of what it tried.
	returnWithin = 5 * time.Second
)

// canaries let one node of a group try what is new before the others get it: what a node refuses,
// or dies of, then costs one node and not the group.
type canaries struct {
	patience time.Duration // how long the others wait for an answer; 0: nobody tries first
	groups   map[string][]*trial
}

// trial is one node's try of a target.
type trial struct {
	to      spot
	node    string
	until   time.Time // then the others get it, answered or not
	open    bool      // the others may have it
	refused bool      // nobody else gets it
}

func (c *canaries) find(group string, to spot) *trial {
	for _, t := range c.groups[group] {
		if t.to == to {
			return t
		}
	}
	return nil
}

// may reports whether a node may be sent a target now; the first that asks becomes the one that
// tries it. The node that refused the target before is passed over unless it is the last resort.
// A node that has nothing yet does not wait.
func (c *canaries) may(n *core.Node, from, to feedv1.Pos, now time.Time, last bool) bool {
	if c.patience == 0 || from == (feedv1.Pos{}) {
		return true
	}
	group := n.GetCluster()
	if t := c.find(group, spotOf(to)); t != nil {
		return t.open || t.node == n.GetId() && !t.refused
	}
	if all := c.groups[group]; !last && len(all) > 0 && all[len(all)-1].refused && all[len(all)-1].node == n.GetId() {
		return false
	}
	c.add(group, &trial{to: spotOf(to), node: n.GetId(), until: now.Add(c.patience)})
	return true
}

func (c *canaries) add(group string, t *trial) {
	if c.groups == nil || len(c.groups) > maxGroups {
		c.groups = map[string][]*trial{}
	}
	all := append(c.groups[group], t)
	c.groups[group] = all[max(0, len(all)-maxTrials):]
}

// passed notes where a node stands, and reports whether others waited for that.
func (c *canaries) passed(n *core.Node, at feedv1.Pos) bool {
	t := c.find(n.GetCluster(), spotOf(at))
	if t == nil || t.open || t.refused || t.node != n.GetId() {
		return false
	}
	t.open = true
	return true
}

// turnDown notes that a node refused a target. It matters only of the one that tries it.
func (c *canaries) turnDown(n Node, at feedv1.Pos) {
	if t := c.find(n.Group, spotOf(at)); t != nil && t.node == n.ID && !t.open {
		t.refused = true
	}
}

// left notes that a node's stream ended.
func (c *canaries) left(n Node, now time.Time) {
	for _, t := range c.groups[n.Group] {
		if t.node == n.ID && !t.open && !t.refused {
			t.until = now.Add(returnWithin)
		}
	}
}

// expire opens the trials that took too long, and reports whether there were any.
func (c *canaries) expire(now time.Time) (opened bool) {
	for _, all := range c.groups {
		for _, t := range all {
			if !t.open && !t.refused && !now.Before(t.until) {
				t.open, opened = true, true
			}
		}
	}
	return opened
}
