package feed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

const keySize = 32

// nodeKey reads the key of this node's files, or makes it. It never leaves the node: a copy
// of the files alone tells nothing.
func nodeKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "node.key")
	key, err := readOwn(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		rand.Read(key)
		return key, writeOwn(path, key)
	}
	if err != nil {
		return nil, err
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("%s has %d bytes, want %d", path, len(key), keySize)
	}
	return key, nil
}
