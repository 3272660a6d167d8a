package dataplane

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/feed"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// tellWithin is how long clients have, after another process has taken over, to send the request
// whose answer tells them that their connection ends.
const tellWithin = 5 * time.Second

// following is how a node follows its control plane. The folder of the last good configuration is
// one process's at a time: a node that is to hand over stops following, serves what it has, and
// can take the folder up again.
type following struct {
	opt feed.Options

	mu     sync.Mutex
	life   context.Context // of the node
	client *feed.Client
	stop   context.CancelFunc
	done   chan struct{}
}

func (f *following) init(o feed.Options) (err error) {
	f.opt = o
	f.client, err = feed.New(o)
	return err
}

// boot starts with the last good configuration. What cannot be read is said and does not stop the
// node: the control plane has the configuration too.
func (f *following) boot(ctx context.Context) {
	pos, err := f.client.Boot(ctx)
	switch {
	case err != nil:
		f.opt.Log.Warn("no last good configuration to start with", "error", err)
	case pos != (feedv1.Pos{}):
		f.opt.Log.Info("started with the last good configuration", "revision", pos.Staged)
	}
}

// start follows until ctx ends.
func (f *following) start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life = ctx
	f.run()
}

func (f *following) run() {
	ctx, stop := context.WithCancel(f.life)
	client, done := f.client, make(chan struct{})
	f.stop, f.done = stop, done
	go func() {
		defer close(done)
		_ = client.Run(ctx) // it returns nil once ctx has ended
	}()
}

// end returns once nothing is followed and what was to be on disk is there.
func (f *following) end() {
	f.mu.Lock()
	stop, done := f.stop, f.done
	f.mu.Unlock()
	stop() // without the lock: an answer that is being made may ask how the connection is
	<-done
}

// again follows after end, from what is on disk: another process may have written there.
func (f *following) again() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life.Err() != nil {
		return nil
	}
	client, err := feed.New(f.opt)
	if err != nil {
		return err
	}
	f.client = client
	f.boot(f.life)
	f.run()
	return nil
}

func (f *following) connected() bool { return f.status().Connected }

func (f *following) status() feed.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client.Status()
}

// First is closed once the node enforces a revision.
func (d *DataPlane) First() <-chan struct{} { return d.first }

// blocksOf follows what is blocked by what the successor of this process keeps on disk.
func (f *following) blocksOf(ctx context.Context) {
	f.mu.Lock()
	client := f.client
	f.mu.Unlock()
	client.FollowBlocks(ctx)
}

// Freeze has the node serve on with what it enforces, and leave its data folder to another
// process. Run must have begun.
func (d *DataPlane) Freeze() { d.following.end() }

// Thaw ends Freeze: the other process has not taken over.
func (d *DataPlane) Thaw() error { return d.following.again() }

// HandedOver notes that another process serves the same doors: when Run's context ends, nobody
// waits for this one, and no client is turned away.
func (d *DataPlane) HandedOver() { d.left.Store(true) }
