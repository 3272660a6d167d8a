// Package place is where backups lie: a folder, or a bucket of an S3-compatible store.
//
// It knows names and bytes. What is written is there whole or not at all, and was read back.
// Enter at Open.
package place

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Place is a folder or bucket. All methods may be called concurrently.
type Place interface {
	// Names are the names of what lies there, ascending.
	Names(ctx context.Context) ([]string, error)
	// Put keeps all of a file under a name, and reads it back.
	Put(ctx context.Context, name string, file *os.File) error
	// Get returns what lies under a name.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// Path is how a person names what lies under a name.
	Path(name string) string
}

// Open finds the place that text names: a folder, or s3://BUCKET/PREFIX. The keys of a bucket are
// in the variables that all S3 clients read.
func Open(text string, getenv func(string) string) (Place, error) {
	if rest, ok := strings.CutPrefix(text, "s3://"); ok {
		return openBucket(rest, getenv)
	}
	info, err := os.Stat(text)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder", text)
	}
	return Folder(text), nil
}

// Folder is a place on this machine.
type Folder string

// Path implements Place.
func (f Folder) Path(name string) string { return filepath.Join(string(f), name) }

// Names implements Place.
func (f Folder) Names(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Get implements Place.
func (f Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(f.Path(name))
}

// Put implements Place.
func (f Folder) Put(_ context.Context, name string, file *os.File) error {
	to, err := os.CreateTemp(string(f), ".backup-*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	defer to.Close()
	want, err := copyAll(to, file)
	if err == nil {
		err = to.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path(name), err)
	}
	if _, err := to.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := same(to, want); err != nil {
		return fmt.Errorf("%s: %w", f.Path(name), err)
	}
	if err := os.Rename(to.Name(), f.Path(name)); err != nil {
		return err
	}
	d, err := os.Open(string(f))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyAll copies all of a file and returns its digest.
func copyAll(to io.Writer, file *os.File) (digest [sha256.Size]byte, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return digest, err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, h), file); err != nil {
		return digest, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// same reads what was written again.
func same(r io.Reader, want [sha256.Size]byte) error {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return fmt.Errorf("read the backup back: %w", err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != want {
		return errors.New("what is there is not what was written")
	}
	return nil
}
