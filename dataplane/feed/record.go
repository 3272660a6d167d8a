package feed

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// A file of last good configurations is a header and records. The header is the magic and a
// salt. A record is the length of what is sealed, its CRC-32C, and the sealed bytes: a nonce
// and AES-256-GCM of some ops, bound to the file and to the record's place in it. The CRC
// tells damage from a wrong key.
const (
	magic      = "SEKILKG1"
	saltSize   = 16
	headerSize = len(magic) + saltSize
	frameSize  = 8
	maxRecord  = 8 << 20 // an op is at most an entity of 1 MiB
	maxEntry   = maxRecord / 2
	cutRecord  = 1 << 20
)

// The ops of a record: a tag, a length, and that many bytes.
const (
	opWipe   = 1 // what follows is a whole set
	opPut    = 2 // an Entry
	opRemove = 3 // a name
	opCommit = 4 // a position: what was said since the last one is a revision
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealer writes and reads the records of one file.
type sealer struct {
	aead cipher.AEAD
	salt [saltSize]byte
	n    uint64 // records so far
}

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead}, nil
}

func (s *sealer) bound() []byte { return binary.BigEndian.AppendUint64(s.salt[:], s.n) }

// header begins a new file.
func (s *sealer) header() []byte {
	rand.Read(s.salt[:])
	return append([]byte(magic), s.salt[:]...)
}

// seal appends one record to b. Nonces are random: a place whose record was torn off and
// written again never sees the same one.
func (s *sealer) seal(b, ops []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, frameSize+s.aead.NonceSize())...)
	nonce := b[start+frameSize:]
	rand.Read(nonce)
	b = s.aead.Seal(b, nonce, ops, s.bound())
	sealed := b[start+frameSize:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(sealed)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(sealed, castagnoli))
	s.n++
	return b
}

var errDamaged = errors.New("damaged")

// open reads the next record's ops; io.EOF at the end of a file that ends well.
func (s *sealer) open(r io.Reader) (ops []byte, size int64, err error) {
	var frame [frameSize]byte
	if _, err := io.ReadFull(r, frame[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, 0, io.EOF
		}
		return nil, 0, fmt.Errorf("record %d: %w: torn", s.n, errDamaged)
	}
	n := binary.BigEndian.Uint32(frame[:])
	if n > maxRecord || int(n) < s.aead.NonceSize() {
		return nil, 0, fmt.Errorf("record %d: %w: length %d", s.n, errDamaged, n)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, 0, fmt.Errorf("record %d: %w: torn", s.n, errDamaged)
	}
	if crc32.Checksum(sealed, castagnoli) != binary.BigEndian.Uint32(frame[4:]) {
		return nil, 0, fmt.Errorf("record %d: %w: checksum", s.n, errDamaged)
	}
	nonce, box := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	if ops, err = s.aead.Open(box[:0], nonce, box, s.bound()); err != nil {
		return nil, 0, fmt.Errorf("record %d: written with another key, or moved: %w", s.n, err)
	}
	s.n++
	return ops, frameSize + int64(n), nil
}

// begin reads the header of a file.
func (s *sealer) begin(r *bufio.Reader) error {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(magic)]) != magic {
		return fmt.Errorf("header: %w", errDamaged)
	}
	copy(s.salt[:], head[len(magic):])
	return nil
}

func appendOp(b []byte, tag byte, body []byte) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// nextOp splits the first op off.
func nextOp(b []byte) (tag byte, body, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, nil, fmt.Errorf("op: %w: empty", errDamaged)
	}
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > uint64(len(b)-1-k) {
		return 0, nil, nil, fmt.Errorf("op %d: %w: length", b[0], errDamaged)
	}
	body = b[1+k : 1+k+int(n)]
	return b[0], body, b[1+k+int(n):], nil
}

// encodeMove cuts a move into the ops of as many records as it needs, the last of which
// commits it.
func encodeMove(m Move) ([][]byte, error) {
	var records [][]byte
	var ops []byte
	if m.Full {
		ops = appendOp(ops, opWipe, nil)
	}
	for i := range m.Changes {
		if len(ops) >= cutRecord {
			records, ops = append(records, ops), nil
		}
		c := &m.Changes[i]
		if c.Body == nil {
			ops = appendOp(ops, opRemove, []byte(c.name()))
			continue
		}
		e, err := proto.Marshal(&feedv1.Entry{Kind: c.Kind, Id: c.ID, Rev: c.Rev, Body: c.Body})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", c.name(), err)
		}
		if len(e) > maxEntry {
			return nil, fmt.Errorf("%s has %d bytes, more than %d", c.name(), len(e), maxEntry)
		}
		ops = appendOp(ops, opPut, e)
	}
	return append(records, appendOp(ops, opCommit, []byte(m.To.String()))), nil
}
