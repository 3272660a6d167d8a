package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"
)

// KeptID returns the id in a file; the first time it makes one and keeps it there.
func KeptID(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err == nil {
		if id := strings.TrimSpace(string(raw)); id != "" {
			return id, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read id: %w", err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	if err := os.WriteFile(file, []byte(id.String()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep id: %w", err)
	}
	return id.String(), nil
}
