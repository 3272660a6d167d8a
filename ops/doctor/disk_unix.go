//go:build unix

package doctor

import (
	"context"
	"syscall"

	"github.com/sekifuda/sekifuda/ops"
)

func diskSpace(_ context.Context, p *patient) result {
	if p.DataDir == "" {
		return skip("no data folder is named (--data-dir)")
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(p.DataDir, &s); err != nil {
		return ill(ops.Warning, "correct --data-dir", "the disk of %s cannot be looked at: %v", p.DataDir, err)
	}
	// As df counts: blocks that are kept for root are neither used nor free.
	free, taken := int64(s.Bavail)*int64(s.Bsize), int64(s.Blocks-s.Bfree)*int64(s.Bsize)
	if free+taken == 0 {
		return skip("the disk of %s does not tell its size", p.DataDir)
	}
	used := 100 * float64(taken) / float64(free+taken)
	switch {
	case used > 95:
		return ill(ops.Critical, "make room: a node goes on serving when its disk is full, but keeps no snapshot", "the disk of %s is %.0f %% full, %s are free", p.DataDir, used, bytesText(free))
	case used > 85:
		return ill(ops.Warning, "make room", "the disk of %s is %.0f %% full, %s are free", p.DataDir, used, bytesText(free))
	}
	return well("%s are free", bytesText(free))
}
