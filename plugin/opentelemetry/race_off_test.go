//go:build !race

package opentelemetry

// poolLoses is what a pool that forgets costs.
const poolLoses = 0
