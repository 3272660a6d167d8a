package chaos

import "syscall"

// mountSmall puts a file system of 1 MB on a folder; it takes root.
func mountSmall(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700")
}

// unmount takes it away as soon as nobody uses it.
func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
