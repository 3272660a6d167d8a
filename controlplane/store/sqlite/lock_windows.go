package sqlite

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte lies behind the holder's number, which others may read: Windows keeps readers
// out of what is locked.
const lockedByte = 1 << 20

func tryLock(file *os.File) error {
	return windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{Offset: lockedByte})
}
