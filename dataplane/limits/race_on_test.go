//go:build race

package limits_test

// poolLoses is what a pool that forgets costs: under the race detector sync.Pool forgets at
// random.
const poolLoses = 4
