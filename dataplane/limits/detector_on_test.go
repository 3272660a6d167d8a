//go:build race

package limits

// raceDetector takes memory of its own.
const raceDetector = true
