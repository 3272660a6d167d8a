//go:build !race

package limits_test

// poolLoses is what a pool that forgets costs.
const poolLoses = 0
