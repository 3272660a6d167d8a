package feed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// nodeKey reads the key of this node's files, or makes it. It never leaves the node: a copy
// of the files alone tells nothing.
func nodeKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "node.key")
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: others can read it, want 0600", path, info.Mode().Perm())
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("%s has %d bytes, want %d", path, len(key), keySize)
	}
	return key, nil
}

func makeKey(path string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return key, os.Rename(path+".tmp", path)
}
