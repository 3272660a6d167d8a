package keyring

import (
	"context"
	"fmt"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Rotation is what a rotation came to.
type Rotation struct {
	Key       string // name of the key-encryption key in use
	Rewrapped int
	DataKeys  int
}

// Rotate wraps every data key with the key-encryption key in use, after which the older ones
// are needed by nobody. With fresh it makes a new data key as well; what older ones sealed
// stays readable.
func (k *Keyring) Rotate(ctx context.Context, fresh bool) (Rotation, error) {
	records, err := k.store.Records(ctx, kind)
	if err != nil {
		return Rotation{}, fmt.Errorf("read data keys: %w", err)
	}
	out := Rotation{Key: k.keys[0].Name, DataKeys: len(records)}
	var writes []store.Record
	newest := uint32(0)
	for _, r := range records {
		n, w, raw, err := k.unwrap(r)
		if err != nil {
			return Rotation{}, err
		}
		newest = max(newest, n)
		if w.By == out.Key {
			continue
		}
		next, err := k.wrap(n, raw, r.Version)
		if err != nil {
			return Rotation{}, err
		}
		writes = append(writes, next)
	}
	if out.Rewrapped = len(writes); out.Rewrapped > 0 {
		if err := k.store.Write(ctx, writes); err != nil {
			return Rotation{}, fmt.Errorf("write data keys: %w", err)
		}
	}
	if fresh {
		if err := k.add(ctx, newest+1); err != nil {
			return Rotation{}, fmt.Errorf("make data key: %w", err)
		}
		out.DataKeys++
	}
	return out, k.load(ctx)
}
