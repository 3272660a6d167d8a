package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ErrInUse says that another process, or this one, has the file open.
var ErrInUse = errors.New("the file is in use")

// acquire locks the file at path, which is made if it is not there. The operating system
// frees the lock when the process ends, however it ends.
func acquire(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(file); err != nil {
		holder := readHolder(file)
		return nil, errors.Join(fmt.Errorf("%w by process %s: one process at a time; several need PostgreSQL", ErrInUse, holder), file.Close())
	}
	if err := noteHolder(file); err != nil {
		return nil, errors.Join(fmt.Errorf("note the lock's holder: %w", err), file.Close())
	}
	return file, nil
}

// noteHolder writes this process's number, for the message that the next one gets.
func noteHolder(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(file, os.Getpid())
	return err
}

func readHolder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if holder := strings.TrimSpace(string(text)); err == nil && holder != "" {
		return holder
	}
	return "unknown" // it has just begun
}
