//go:build !race

package responseratelimiting

// poolLoses is what a pool that forgets costs.
const poolLoses = 0
