// Package records keeps what filters make while they serve and other gates must know:
// sessions, tokens. They live in Redis where gates share one, else in a file of this gate.
//
// It knows kinds and keys, not what a record means; neither it nor who reads the store learns
// a key, which is hashed. Enter at New.
package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
)

// patience bounds what a request waits for a record.
const patience = 2 * time.Second

// prefix is that of all records in Redis.
const prefix = "seki:record:"

// Options say where records are.
type Options struct {
	Redis redis.UniversalClient // nil: in Path. It is closed with the records.
	Path  string                // "": in memory
	Now   func() time.Time
}

// Records is a store of records. It is safe for concurrent use.
type Records interface {
	plugin.Records
	// Run forgets what has expired, until ctx ends; then it closes the store.
	Run(ctx context.Context) error
}

// New opens the store. It connects to nothing; a file that is no store is an error.
func New(o Options) (Records, error) {
	if o.Redis != nil {
		return shared{o.Redis}, nil
	}
	return newLocal(o)
}

// shared is a store that gates share.
type shared struct{ client redis.UniversalClient }

var _ Records = shared{}

// Get implements plugin.Records.
func (s shared) Get(ctx context.Context, kind, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return found("read", kind)(s.client.Get(ctx, prefix+address(kind, key)).Bytes())
}

// Put implements plugin.Records.
func (s shared) Put(ctx context.Context, kind, key string, value []byte, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.client.Set(ctx, prefix+address(kind, key), value, max(ttl, 0)).Err(); err != nil {
		return fmt.Errorf("keep a record of %s: %w", kind, err)
	}
	return nil
}

// Take implements plugin.Records.
func (s shared) Take(ctx context.Context, kind, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return found("take", kind)(s.client.GetDel(ctx, prefix+address(kind, key)).Bytes())
}

// Run implements Records.
func (s shared) Run(ctx context.Context) error {
	<-ctx.Done()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close the records: %w", err)
	}
	return nil
}

func found(act, kind string) func([]byte, error) ([]byte, error) {
	return func(value []byte, err error) ([]byte, error) {
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s a record of %s: %w", act, kind, err)
		}
		return value, nil
	}
}

// address is where a record is: who reads it cannot use the key.
func address(kind, key string) string {
	sum := sha256.Sum256([]byte(key))
	return kind + ":" + hex.EncodeToString(sum[:])
}
