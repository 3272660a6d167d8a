package feed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// What is blocked is no configuration: it has a track of its own, beside the reports, and a file
// of its own. Each list takes the place of the one before, so a file that is lost costs no more
// than the time until the control plane says it again.

const blocksFile = "blocks"

// blocksHead is when the node heard of the blocks, by its clock, and the checksum of all else.
const blocksHead = 8 + 4

// bootBlocks has what was blocked before a restart blocked again, before anything is served.
func (c *Client) bootBlocks(ctx context.Context) {
	if c.Block == nil || c.Dir == "" {
		return
	}
	b, heard, err := readBlocks(filepath.Join(c.Dir, blocksFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		c.Log.ErrorContext(ctx, "what was blocked is not known until the control plane says it", "error", err)
	default:
		if now := c.Clock.Now(); heard.After(now) { // the clock went back meanwhile: not longer than was said
			heard = now
		}
		c.Block(b, heard)
	}
}

// lookAtBlocks is how often FollowBlocks looks.
const lookAtBlocks = time.Second

// FollowBlocks enforces what another process keeps in the same folder of what is blocked, until ctx
// ends: a process that drains after a handover hears nothing itself. A file that cannot be read
// leaves things as they are until the next look.
func (c *Client) FollowBlocks(ctx context.Context) {
	var last time.Time
	for c.Block != nil && c.Dir != "" {
		if b, heard, err := readBlocks(filepath.Join(c.Dir, blocksFile)); err == nil && !heard.Equal(last) {
			last = heard
			c.Block(b, heard)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Clock.After(lookAtBlocks):
		}
	}
}

// block has blocks enforced and keeps them. What cannot be kept is enforced all the same.
func (c *Client) block(ctx context.Context, b *feedv1.Blocks) {
	heard := c.Clock.Now()
	c.Block(b, heard)
	if c.Dir == "" {
		return
	}
	if err := writeBlocks(filepath.Join(c.Dir, blocksFile), b, heard); err != nil {
		c.Log.ErrorContext(ctx, "what is blocked would not be so after a restart without a control plane", "error", err)
	}
}

func writeBlocks(path string, b *feedv1.Blocks, heard time.Time) error {
	raw, err := proto.Marshal(b)
	if err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint64(nil, uint64(heard.UnixNano()))
	out = binary.BigEndian.AppendUint32(out, blocksSum(out, raw))
	return writeOwn(path, append(out, raw...))
}

func readBlocks(path string) (*feedv1.Blocks, time.Time, error) {
	raw, err := readOwn(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(raw) < blocksHead || binary.BigEndian.Uint32(raw[8:]) != blocksSum(raw[:8], raw[blocksHead:]) {
		return nil, time.Time{}, fmt.Errorf("%s is damaged", path)
	}
	b := &feedv1.Blocks{}
	if err := proto.Unmarshal(raw[blocksHead:], b); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return b, time.Unix(0, int64(binary.BigEndian.Uint64(raw))), nil
}

func blocksSum(head, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, body)
}
