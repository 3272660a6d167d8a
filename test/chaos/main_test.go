package chaos

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m, closing) }

// full reports whether every row is run: make chaos does.
func full() bool { return os.Getenv("SEKI_CHAOS_FULL") != "" }

// score is what the rows came to.
var score struct {
	mu             sync.Mutex
	passed, failed int
	notRun         []string
}

// row counts a test as a row of the matrix.
func row(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		score.mu.Lock()
		defer score.mu.Unlock()
		switch {
		case t.Failed():
			score.failed++
		case !t.Skipped():
			score.passed++
		}
	})
}

// longRow is a row that go test leaves to make chaos.
func longRow(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("run by make chaos")
	}
	row(t)
}

// notHere ends a row that this machine cannot run.
func notHere(t *testing.T, why string) {
	t.Helper()
	score.mu.Lock()
	score.notRun = append(score.notRun, strings.TrimPrefix(t.Name(), "Test")+": "+why)
	score.mu.Unlock()
	t.Skip(why)
}

func closing() {
	if !full() {
		return
	}
	fmt.Printf("chaos: %d rows passed, %d failed, %d not run here", score.passed, score.failed, len(score.notRun))
	if len(score.notRun) > 0 {
		fmt.Printf(" (%s)", strings.Join(score.notRun, "; "))
	}
	fmt.Println()
}
