// Package archive is the file that a backup is: parts of an export, compressed, encrypted, with an
// end that tells that it is whole.
//
// It knows parts and bytes; what is in the parts is the control plane's. A file is a line that says
// what it is, then an age stream or nothing around a gzip stream of parts, each with its length
// before it. Enter at NewWriter and NewReader.
package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"filippo.io/age"
	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// The first line of a file: what it is, the version of its form, and whether it is encrypted.
const (
	magic     = "sekifuda-backup"
	encrypted = "age"
	open      = "plain"

	// Who reads only the first form would take a backup of steps for one without entities.
	formWhole = "1"
	formSteps = "2"
)

// maxPart bounds one part, so that a damaged length does not ask for all memory.
const maxPart = 256 << 20

var (
	// ErrCutOff says that the file ends before its end.
	ErrCutOff = errors.New("the backup is cut off: its end is missing")
	// ErrDamaged says that the file is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrKey says that the file cannot be read with the keys given.
	ErrKey = errors.New("the backup is encrypted for another key")
)

// Writer writes a backup.
type Writer struct {
	to       io.WriteCloser // encryption; nil: none
	zip      *gzip.Writer
	digest   hash.Hash
	entities uint64
}

// NewWriter begins a backup of what head says, which the recipients can read; without recipients
// everybody can.
func NewWriter(w io.Writer, recipients []age.Recipient, head *controlv1.BackupHead) (*Writer, error) {
	form, how := formWhole, open
	if head.GetPartial() || head.GetBase() != head.GetRev() {
		form = formSteps
	}
	if len(recipients) > 0 {
		how = encrypted
	}
	if _, err := fmt.Fprintf(w, "%s %s %s\n", magic, form, how); err != nil {
		return nil, err
	}
	a := &Writer{digest: sha256.New()}
	if len(recipients) > 0 {
		var err error
		if a.to, err = age.Encrypt(w, recipients...); err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		w = a.to
	}
	a.zip = gzip.NewWriter(w)
	return a, nil
}

// Write adds a part.
func (a *Writer) Write(part *controlv1.ExportResponse) error {
	a.entities += Count(part)
	raw, err := proto.Marshal(part)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	a.digest.Write(raw)
	return a.frame(raw)
}

func (a *Writer) frame(raw []byte) error {
	if _, err := a.zip.Write(binary.AppendUvarint(nil, uint64(len(raw))+1)); err != nil {
		return err
	}
	_, err := a.zip.Write(raw)
	return err
}

// Close writes the end. A backup that is not closed is cut off.
func (a *Writer) Close() error {
	raw, err := proto.Marshal(&controlv1.BackupEnd{Entities: a.entities, Digest: a.digest.Sum(nil)})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	// A part of length 0 is none: what follows it is the end.
	if _, err := a.zip.Write([]byte{0}); err != nil {
		return err
	}
	if err := a.frame(raw); err != nil {
		return err
	}
	if err := a.zip.Close(); err != nil {
		return err
	}
	if a.to == nil {
		return nil
	}
	return a.to.Close()
}

// Reader reads a backup part by part.
type Reader struct {
	in       *bufio.Reader
	form     string
	digest   hash.Hash
	entities uint64
}

// NewReader begins to read a backup with the keys that may open it.
func NewReader(r io.Reader, keys []age.Identity) (*Reader, error) {
	in := bufio.NewReader(r)
	line, err := in.ReadString('\n')
	words := strings.Fields(line)
	switch {
	case len(line) > 100 || len(words) != 3 || words[0] != magic:
		return nil, errors.New("this is no backup of Sekifuda")
	case err != nil:
		return nil, ErrCutOff
	case words[1] != formWhole && words[1] != formSteps:
		return nil, fmt.Errorf("the backup is of form %s, this version reads forms %s and %s: use a newer seki", words[1], formWhole, formSteps)
	}
	var text io.Reader = in
	switch words[2] {
	case open:
	case encrypted:
		if len(keys) == 0 {
			return nil, errors.New("the backup is encrypted: name its key by --key-file, or its passphrase by SEKI_BACKUP_PASSPHRASE")
		}
		if text, err = age.Decrypt(in, keys...); err != nil {
			return nil, opened(err)
		}
	default:
		return nil, ErrDamaged
	}
	zip, err := gzip.NewReader(text)
	if err != nil {
		return nil, read(err)
	}
	return &Reader{in: bufio.NewReader(zip), form: words[1], digest: sha256.New()}, nil
}

// opened says why an encrypted file does not open.
func opened(err error) error {
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return ErrKey
	}
	return read(err)
}

// read says what an error in the middle of a file means.
func read(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCutOff
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Next returns the next part, or io.EOF once the end is read and all was there.
func (a *Reader) Next() (*controlv1.ExportResponse, error) {
	n, err := binary.ReadUvarint(a.in)
	if err != nil {
		return nil, read(err)
	}
	if n == 0 {
		return nil, a.end()
	}
	raw, err := a.part(n)
	if err != nil {
		return nil, err
	}
	a.digest.Write(raw)
	part := &controlv1.ExportResponse{}
	if err := proto.Unmarshal(raw, part); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	a.entities += Count(part)
	if part.GetHead() != nil && a.form == formWhole { // which knew no base
		part.Head.Base = part.Head.GetRev()
	}
	return part, nil
}

func (a *Reader) part(n uint64) ([]byte, error) {
	if n == 0 || n-1 > maxPart {
		return nil, ErrDamaged
	}
	raw := make([]byte, n-1)
	if _, err := io.ReadFull(a.in, raw); err != nil {
		return nil, read(err)
	}
	return raw, nil
}

// end compares what was read with what was written.
func (a *Reader) end() error {
	n, err := binary.ReadUvarint(a.in)
	if err != nil {
		return read(err)
	}
	raw, err := a.part(n)
	if err != nil {
		return err
	}
	end := &controlv1.BackupEnd{}
	if err := proto.Unmarshal(raw, end); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if end.GetEntities() != a.entities || !bytes.Equal(end.GetDigest(), a.digest.Sum(nil)) {
		return ErrDamaged
	}
	if _, err := a.in.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return ErrDamaged
		}
		return read(err)
	}
	return io.EOF
}

// Count is how many entities a part tells of.
func Count(part *controlv1.ExportResponse) uint64 {
	n := len(part.GetEntities())
	for _, s := range part.GetSteps() {
		n += len(s.GetPut()) + len(s.GetDeleted())
	}
	return uint64(n)
}

// Head reads the beginning of a backup: what it is of.
func Head(r io.Reader, keys []age.Identity) (*controlv1.BackupHead, error) {
	a, err := NewReader(r, keys)
	if err != nil {
		return nil, err
	}
	part, err := a.Next()
	if errors.Is(err, io.EOF) || err == nil && part.GetHead() == nil {
		return nil, ErrDamaged
	}
	if err != nil {
		return nil, err
	}
	return part.GetHead(), nil
}
