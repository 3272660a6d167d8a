package feed

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

func groupPath(dir string) string { return filepath.Join(dir, "group") }

// readGroup returns the group whose configuration is in dir, "" for none.
func readGroup(dir string) (string, error) {
	b, err := os.ReadFile(groupPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// join notes that what runs was assigned in the client's group. If it cannot be written the
// next start takes the generation for another group's, which costs a look at the hash.
func (c *Client) join() {
	if c.group == c.Group {
		return
	}
	path := groupPath(c.Dir)
	err := os.WriteFile(path+".tmp", []byte(c.Group), 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		c.Log.Warn("group is not written", "error", err)
		return
	}
	c.group = c.Group
}
