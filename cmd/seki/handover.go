package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/dataplane"
)

// Handing over: at SIGUSR2 a process starts what its binary's path now holds, with the same
// arguments and its listening sockets, and ends when that one serves. The two talk over a pair of
// pipes, a word a line:
//
//	successor                      predecessor
//	prepared: it could start   ->
//	                           <-  go: the data folder and the store are free
//	ready: it serves           ->
//
// Connections that come meanwhile wait in the sockets, which are never closed. A successor that
// ends, or does not say the next word in time, changes nothing: the predecessor takes up what it
// had left.

// handoverEnv names the sockets of a successor: FLAG=ADDRESS, separated by commas, in the order of
// their descriptors. Two descriptors follow: one to say words to, one to hear them from.
const handoverEnv = "SEKI_HANDOVER"

// wordWithin bounds how long a successor may take for its next word. A node with a million
// entities on disk needs some ten seconds.
const wordWithin = time.Minute

const (
	wordPrepared = "prepared"
	wordGo       = "go"
	wordReady    = "ready"
)

// errHandedOver ends a process whose successor serves.
var errHandedOver = errors.New("handed over")

// predecessor is the process that this one is to take over from.
type predecessor struct{ say, hear *os.File }

// inherit reads what the process was started with.
func (p *process) inherit() error {
	getenv := p.call.getenv
	names := getenv(handoverEnv)
	if names == "" {
		found, err := activated(getenv)
		p.sockets.found = found
		return err
	}
	fd := uintptr(firstSocket)
	for name := range strings.SplitSeq(names, ",") {
		p.sockets.keep(name, os.NewFile(fd, name))
		fd++
	}
	p.before = &predecessor{os.NewFile(fd, "handover"), os.NewFile(fd+1, "handover")}
	return p.before.prepared()
}

// prepared tells the predecessor that this process could start, and waits for what it holds.
func (b *predecessor) prepared() error {
	if _, err := b.say.WriteString(wordPrepared + "\n"); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	line, err := bufio.NewReader(b.hear).ReadString('\n')
	if err != nil || line != wordGo+"\n" {
		return errors.New("take over: the other process goes on")
	}
	return nil
}

// ready tells the predecessor that this process serves.
func (b *predecessor) ready() error {
	_, err := b.say.WriteString(wordReady + "\n")
	return errors.Join(err, b.say.Close(), b.hear.Close())
}

// takeOver tells the predecessor, if there is one, once the node enforces a revision.
func (p *process) takeOver(ctx context.Context, dp *dataplane.DataPlane) {
	p.sockets.drop()
	if p.before == nil {
		p.supervisor.ready("serving")
		return
	}
	if dp != nil {
		select {
		case <-dp.First():
		case <-ctx.Done():
			return
		}
	}
	// First the supervisor: the predecessor may end at once, and is no failure then.
	p.supervisor.ready("serving; took over from another process")
	if err := p.before.ready(); err != nil {
		p.log.Error("take over", "error", err)
	}
}

// successor is a process that is to take over from this one.
type successor struct {
	pid   int
	say   *os.File
	words chan string   // closed when it has no more to say
	ended chan struct{} // closed when it has ended
}

// word waits for the next word.
func (s *successor) word(ctx context.Context, want string) error {
	late := time.NewTimer(wordWithin)
	defer late.Stop()
	select {
	case got, ok := <-s.words:
		if !ok {
			return errors.New("the new process ended; its own log says why")
		}
		if got != want {
			return fmt.Errorf("the new process said %q, not %q", got, want)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("the new process was not %s within %v", want, wordWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOver hands over to a new process. An error says why that one did not take over, and that
// this one goes on as before.
func (p *process) handOver(ctx context.Context, d *desk, dp *dataplane.DataPlane, fail context.CancelCauseFunc) error {
	if dp != nil && dp.Ready() != nil {
		return errors.New("this node enforces no configuration yet")
	}
	held, err := duplicate(p.all)
	if err != nil {
		return err
	}
	defer held.close()
	next, err := p.spawn(held)
	if err != nil {
		return err
	}
	notice(ctx, p.log, "handing over", "pid", next.pid, "binary", self)
	if err := next.word(ctx, wordPrepared); err != nil {
		next.kill()
		return err
	}
	if dp != nil {
		dp.Freeze()
	}
	if d != nil {
		if err := d.close(); err != nil {
			p.log.Warn("the control plane ended with an error", "error", err)
		}
	}
	_, err = next.say.WriteString(wordGo + "\n")
	if err == nil {
		err = next.word(ctx, wordReady)
	}
	if err == nil {
		return nil
	}
	next.kill()
	return errors.Join(err, p.resume(held, d, dp, fail))
}

// resume takes up what was left to a successor.
func (p *process) resume(held *held, d *desk, dp *dataplane.DataPlane, fail context.CancelCauseFunc) error {
	if d != nil {
		if err := held.give(&p.sockets); err != nil {
			return err
		}
		if err := d.prepare(); err != nil {
			fail(err) // a process without its control plane is not what was started
			return err
		}
		p.sockets.drop()
		d.start(fail)
	}
	if dp != nil {
		return dp.Thaw()
	}
	return nil
}
