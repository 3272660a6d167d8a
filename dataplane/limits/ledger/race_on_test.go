//go:build race

package ledger

// raceDetector takes memory of its own.
const raceDetector = true
