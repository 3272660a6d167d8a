package stack

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

var (
	successorLine  = regexp.MustCompile(`msg="handing over" pid=(\d+)`)
	handedOverLine = regexp.MustCompile(`msg="handed over"`)
	keptLine       = regexp.MustCompile(`msg="nothing was handed over; this process goes on".*`)
)

// HandOver has the process, or the one that it handed over to before, hand over to what its
// binary's path now holds. It returns once the successor serves, or with the word of the process
// why it goes on itself.
func (p *Process) HandOver() error {
	p.t.Helper()
	before := p.said()
	pid := p.PID()
	if handedOverLine.MatchString(before) {
		all := successorLine.FindAllStringSubmatch(before, -1)
		pid, _ = strconv.Atoi(all[len(all)-1][1])
	}
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		return err
	}
	var refusal error
	var once sync.Once
	Eventually(p.t, func() error {
		text := p.said()[len(before):]
		if m := successorLine.FindStringSubmatch(text); m != nil {
			once.Do(func() { killAtEnd(p.t, m[1]) })
		}
		if why := keptLine.FindString(text); why != "" {
			refusal = errors.New(why)
			return nil
		}
		if !handedOverLine.MatchString(text) {
			return fmt.Errorf("process %d has not handed over", pid)
		}
		return nil
	})
	return refusal
}

func (p *Process) said() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// killAtEnd ends a process that is no child of the test's.
func killAtEnd(t testing.TB, pid string) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(n, syscall.SIGKILL) })
}
