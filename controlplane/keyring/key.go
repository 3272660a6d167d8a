package keyring

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeySize is the size of every key here: AES-256.
const KeySize = 32

// Key is a key-encryption key. Its name is the beginning of its digest.
type Key struct {
	Name string
	aead cipher.AEAD
}

// NewKey makes a key of 32 bytes.
func NewKey(raw []byte) (Key, error) {
	if len(raw) != KeySize {
		return Key{}, fmt.Errorf("a key-encryption key has %d bytes, not %d", KeySize, len(raw))
	}
	digest := sha256.Sum256(raw)
	return Key{Name: hex.EncodeToString(digest[:4]), aead: newAEAD(raw)}, nil
}

// NewRaw is the bytes of a fresh key.
func NewRaw() []byte {
	raw := make([]byte, KeySize)
	rand.Read(raw)
	return raw
}

// newAEAD takes 32 bytes, for which neither step has an error.
func newAEAD(raw []byte) cipher.AEAD {
	block, err := aes.NewCipher(raw)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (k Key) seal(name string, plain []byte) []byte {
	nonce := make([]byte, k.aead.NonceSize())
	rand.Read(nonce)
	return k.aead.Seal(nonce, nonce, plain, []byte(name))
}

func (k Key) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < k.aead.NonceSize() {
		return nil, errors.New("too short")
	}
	n := k.aead.NonceSize()
	return k.aead.Open(nil, sealed[:n], sealed[n:], []byte(name))
}

// ParseKeys reads keys, one a line, 32 bytes in hexadecimal or base64 each; lines that begin
// with "#" say what they like. The first key is the one in use.
func ParseKeys(text []byte) ([]Key, error) {
	all, err := parseRaw(text)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(all))
	for i, raw := range all {
		if keys[i], err = NewKey(raw); err != nil {
			return nil, fmt.Errorf("key %d: %w (openssl rand -hex 32 makes one)", i+1, err)
		}
	}
	return keys, nil
}

func parseRaw(text []byte) (all [][]byte, err error) {
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		raw, err := hex.DecodeString(line)
		if err != nil {
			raw, err = base64.StdEncoding.DecodeString(line)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d is neither hexadecimal nor base64 (openssl rand -hex 32 makes one)", len(all)+1)
		}
		all = append(all, raw)
	}
	if len(all) == 0 {
		return nil, errors.New("no key (openssl rand -hex 32 makes one)")
	}
	return all, nil
}

// KeptRaw is the key in use of a file that KeptFile made, for a store that moves away from it.
func KeptRaw(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all, err := parseRaw(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all[0], nil
}

// ReadFile reads the keys of a file that nobody else may read.
func ReadFile(path string) ([]Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s has mode %v: everybody can read it, want 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// KeptFile reads the keys of a file, which it makes with a fresh key when it is not there.
func KeptFile(path string) ([]Key, error) {
	keys, err := ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	text := "# Key-encryption key of the secrets in config.db: without it they cannot be read.\n" + hex.EncodeToString(NewRaw()) + "\n"
	if err := writeFile(path, []byte(text)); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	return ReadFile(path)
}

// writeFile puts a file on disk, whole and for its owner alone.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
