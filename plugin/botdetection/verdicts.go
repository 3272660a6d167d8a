package botdetection

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// places is how many agents are remembered: a gate sees few kinds of client, and a
	// stranger who sends many different ones only makes others be looked at again.
	places = 1 << 10
	// longest is the longest agent that is remembered, so that places bounds the memory.
	longest = 512
)

// verdicts remembers what was found of an agent. The hash is seeded, so that nobody outside
// can aim at a place; the agent itself is compared, so that a clash is a miss.
type verdicts struct {
	seed  maphash.Seed
	table [places]atomic.Pointer[verdict]
}

type verdict struct {
	agent string
	robot bool
}

func newVerdicts() *verdicts { return &verdicts{seed: maphash.MakeSeed()} }

func (v *verdicts) place(agent string) *atomic.Pointer[verdict] {
	return &v.table[maphash.String(v.seed, agent)%places]
}

func (v *verdicts) lookup(agent string) (robot, ok bool) {
	if e := v.place(agent).Load(); e != nil && e.agent == agent {
		return e.robot, true
	}
	return false, false
}

func (v *verdicts) keep(agent string, robot bool) {
	if len(agent) > longest {
		return
	}
	v.place(agent).Store(&verdict{strings.Clone(agent), robot})
}
