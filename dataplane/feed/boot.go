package feed

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Boot puts the last good configuration in force, before there is any connection: the newest
// one on disk that is whole, that the node did not die of, and that the applier takes. It
// returns where the node stands then, the zero Pos for nothing; the error is why newer
// configurations were passed over, and not a reason to stop.
func (c *Client) Boot(ctx context.Context) (Pos, error) {
	c.bootBlocks(ctx)
	if c.disk == nil {
		return Pos{}, nil
	}
	var passed []error
	tried := 0
	for i, n := range files(c.disk.dir) {
		if i == 0 {
			c.disk.number = n
		}
		at, err := c.bootFile(ctx, n, i == 0, &tried)
		passed = append(passed, err)
		if at != (Pos{}) {
			return at, errors.Join(passed...)
		}
	}
	return Pos{}, errors.Join(passed...)
}

// bootFile tries the revisions of one file, newest first.
func (c *Client) bootFile(ctx context.Context, n uint64, newest bool, tried *int) (Pos, error) {
	path := filePath(c.disk.dir, n)
	r, err := recoverFile(path, c.disk.key, 0)
	if err != nil {
		return Pos{}, err
	}
	var passed []error
	if r.damage != nil {
		passed = append(passed, fmt.Errorf("%s: %w", path, r.damage))
	}
	all := len(r.commits)
	for k := all; k > 0 && *tried <= recoverable; k-- {
		if c.guard.died(r.commits[k-1]) {
			*tried++
			passed = append(passed, fmt.Errorf("revision %d.%d: %w", r.commits[k-1].Staged, r.commits[k-1].Live, errCrashed))
			continue
		}
		if len(r.commits) != k {
			if r, err = recoverFile(path, c.disk.key, k); err != nil {
				return Pos{}, errors.Join(append(passed, err)...)
			}
		}
		*tried++
		if err := c.bootAt(ctx, r); err != nil {
			passed = append(passed, fmt.Errorf("revision %d.%d: %w", r.last().Staged, r.last().Live, err))
			continue
		}
		if newest {
			err = c.disk.resume(path, r)
		} else {
			err = c.disk.startOver()
		}
		return c.running(), errors.Join(append(passed, err)...)
	}
	return Pos{}, errors.Join(passed...)
}

// bootAt puts one recovered revision in force.
func (c *Client) bootAt(ctx context.Context, r *recovered) error {
	m := Move{To: r.last(), Full: true, Changes: r.set.changes()}
	if err := c.guard.begin(m.To); err != nil {
		c.Log.WarnContext(ctx, "crash guard is not written", "error", err)
	}
	if err := c.apply(ctx, m); err != nil {
		c.guard.abandon()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	c.set = r.set
	c.status.Running, c.status.AppliedAt = m.To, now
	if c.group != c.Group {
		// Generations count within a group: those of the one the node left mean nothing here,
		// and would make every revision of the new one look like a step back.
		c.status.Running.Generation = 0
	}
	c.guard.applied(m.To, now)
	return nil
}

// resume goes on appending to the newest file behind the revision that is in force. What
// followed it there was damaged, deadly or refused.
func (d *disk) resume(path string, r *recovered) error {
	s, err := newSealer(d.key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if err == nil {
		if err = f.Truncate(r.end); err == nil {
			var head [headerSize]byte
			_, err = f.ReadAt(head[:], 0)
			copy(s.salt[:], head[len(magic):])
		}
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("go on with %s: %w", path, err), d.startOver())
	}
	s.n = r.records
	d.out, d.sealer, d.size, d.base, d.commits = f, s, r.end, r.base, len(r.commits)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = r.last()
	return nil
}

// startOver makes the next write a whole one.
func (d *disk) startOver() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rebase = true
	return nil
}
