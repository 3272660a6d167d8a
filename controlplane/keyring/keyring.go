// Package keyring keeps secrets unreadable in the database: it seals them with data keys,
// which lie in the database wrapped by a key-encryption key, which does not.
//
// It knows bytes and names; it does not know what the secrets are. Sealing is deterministic:
// the same bytes under the same name and data key give the same result, so that a write that
// changes nothing still changes nothing. Enter at Open.
package keyring

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// kind is the record kind of wrapped data keys.
const kind = "data_key"

// Sealed bytes begin with a zero, which no encoded protobuf message does, and a version.
const (
	mark0, mark1 = 0x00, 0x01
	headerSize   = 6 // the mark and the data key's number
	nonceSize    = 12
)

// Store keeps the wrapped data keys.
type Store interface {
	Records(ctx context.Context, kind string) ([]store.Record, error)
	Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error
}

// Keyring seals and opens. All methods may be called concurrently.
type Keyring struct {
	store Store
	keys  []Key // the first wraps, all unwrap

	mu     sync.RWMutex
	data   map[uint32]*dataKey
	newest uint32
}

// dataKey is one unwrapped data key.
type dataKey struct {
	aead  cipher.AEAD
	nonce []byte // key of the nonces
}

// wrapped is a data key as it is stored.
type wrapped struct {
	By  string // name of the key-encryption key
	Key []byte
}

// Open reads the data keys, or makes the first one. keys are the key-encryption keys, that in
// use first: data keys that an older one wrapped are still opened.
func Open(ctx context.Context, s Store, keys []Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a keyring needs a key-encryption key")
	}
	k := &Keyring{store: s, keys: keys, data: map[uint32]*dataKey{}}
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	for k.newest == 0 {
		// Another process may be first; then its key is the one.
		var conflict *store.ConflictError
		if err := k.add(ctx, 1); err != nil && !errors.As(err, &conflict) {
			return nil, fmt.Errorf("make data key: %w", err)
		}
		if err := k.load(ctx); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// load reads data keys that are not known yet.
func (k *Keyring) load(ctx context.Context) error {
	records, err := k.store.Records(ctx, kind)
	if err != nil {
		return fmt.Errorf("read data keys: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range records {
		n, _, raw, err := k.unwrap(r)
		if err != nil {
			return err
		}
		if k.data[n] == nil {
			k.data[n] = newDataKey(raw)
		}
		k.newest = max(k.newest, n)
	}
	return nil
}

// unwrap opens one record: the data key's number, which key wrapped it, and the key.
func (k *Keyring) unwrap(r store.Record) (uint32, wrapped, []byte, error) {
	var w wrapped
	n, err := strconv.ParseUint(r.ID, 10, 32)
	if err == nil {
		err = json.Unmarshal(r.Body, &w)
	}
	if err != nil {
		return 0, w, nil, fmt.Errorf("read data key %s: %w", r.ID, err)
	}
	i := slices.IndexFunc(k.keys, func(key Key) bool { return key.Name == w.By })
	if i < 0 {
		return 0, w, nil, &MissingKeyError{Want: w.By, Have: k.keys[0].Name}
	}
	raw, err := k.keys[i].open(r.ID, w.Key)
	if err != nil {
		return 0, w, nil, fmt.Errorf("open data key %s with key-encryption key %s: %w", r.ID, w.By, err)
	}
	return uint32(n), w, raw, nil
}

// add makes data key n.
func (k *Keyring) add(ctx context.Context, n uint32) error {
	r, err := k.wrap(n, NewRaw(), 0)
	if err != nil {
		return err
	}
	return k.store.Write(ctx, []store.Record{r})
}

func (k *Keyring) wrap(n uint32, raw []byte, version uint64) (store.Record, error) {
	id := strconv.FormatUint(uint64(n), 10)
	body, err := json.Marshal(wrapped{By: k.keys[0].Name, Key: k.keys[0].seal(id, raw)})
	return store.Record{Kind: kind, ID: id, Version: version, Body: body}, err
}

func newDataKey(raw []byte) *dataKey {
	sub := hmac.New(sha256.New, raw)
	sub.Write([]byte("nonce"))
	return &dataKey{aead: newAEAD(raw), nonce: sub.Sum(nil)}
}

// Seal makes plain unreadable, bound to name: what is sealed as one thing does not open as
// another.
func (k *Keyring) Seal(name string, plain []byte) []byte {
	k.mu.RLock()
	n, d := k.newest, k.data[k.newest]
	k.mu.RUnlock()
	out := make([]byte, headerSize, headerSize+nonceSize+len(plain)+d.aead.Overhead())
	out[0], out[1] = mark0, mark1
	binary.BigEndian.PutUint32(out[2:], n)
	// The nonce follows from what is sealed: it repeats only with all of it.
	h := hmac.New(sha256.New, d.nonce)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(name))))
	h.Write([]byte(name))
	h.Write(plain)
	nonce := h.Sum(nil)[:nonceSize]
	return d.aead.Seal(append(out, nonce...), nonce, plain, []byte(name))
}

// Sealed reports whether b was made by Seal, as opposed to an encoded message.
func (*Keyring) Sealed(b []byte) bool { return sealed(b) }

func sealed(b []byte) bool { return len(b) >= headerSize+nonceSize && b[0] == mark0 && b[1] == mark1 }

// Open undoes Seal. A data key that another process made meanwhile is read from the store.
func (k *Keyring) Open(ctx context.Context, name string, b []byte) ([]byte, error) {
	if !sealed(b) {
		return nil, fmt.Errorf("open %s: not sealed", name)
	}
	n := binary.BigEndian.Uint32(b[2:])
	d := k.dataKey(n)
	if d == nil {
		if err := k.load(ctx); err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		if d = k.dataKey(n); d == nil {
			return nil, fmt.Errorf("open %s: data key %d is not in the database", name, n)
		}
	}
	nonce, box := b[headerSize:headerSize+nonceSize], b[headerSize+nonceSize:]
	plain, err := d.aead.Open(nil, nonce, box, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: damaged, or sealed as another thing: %w", name, err)
	}
	return plain, nil
}

func (k *Keyring) dataKey(n uint32) *dataKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.data[n]
}

// MissingKeyError says that a data key was wrapped by a key-encryption key that is not here.
type MissingKeyError struct{ Want, Have string }

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("secrets in this database were sealed under key-encryption key %s, but this control plane has %s: "+
		"every control plane of one database needs the same --kek-file (an older key is another line of it)", e.Want, e.Have)
}
