package h1

import (
	"github.com/sekifuda/sekifuda/plugin"
)

// maxExtension bounds what one chunk's size line may carry beside the size; extensions mean
// nothing here and are dropped.
const maxExtension = 256

// maxTrailer bounds the trailer section of a chunked body.
const maxTrailer = 8 << 10

// Chunks decodes the chunked transfer coding. The zero value stands before the first chunk.
type Chunks struct {
	left    uint64 // of the current chunk's data
	state   chunkState
	digits  uint8
	extra   int
	trailer []byte // the section's lines; the memory is kept
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	afterSize
	inData
	afterData
	afterDataCR
	trailerStart
	inTrailer
	trailerLF
	lastLF
	ended
)

// Reset begins a new body and keeps the memory.
func (c *Chunks) Reset() { *c = Chunks{trailer: c.trailer[:0]} }

// Done reports whether the body has ended.
func (c *Chunks) Done() bool { return c.state == ended }

// HasTrailer reports whether a trailer section was seen so far.
func (c *Chunks) HasTrailer() bool { return len(c.trailer) > 0 }

// Decode reads coded bytes from b and moves their data to the front of b. It returns the
// number of data bytes and how many coded bytes it used: less than len(b) only when the body
// ended or an error stopped it.
func (c *Chunks) Decode(b []byte) (data, used int, err error) {
	for used < len(b) && c.state != ended {
		if c.state == inData {
			n := int(min(uint64(len(b)-used), c.left))
			if data != used {
				copy(b[data:], b[used:used+n])
			}
			data += n
			used += n
			if c.left -= uint64(n); c.left == 0 {
				c.state = afterData
			}
			continue
		}
		if err := c.step(b[used]); err != nil {
			return data, used, err
		}
		used++
	}
	return data, used, nil
}

// step takes one byte of the coding itself.
func (c *Chunks) step(ch byte) error {
	switch c.state {
	case inSize:
		return c.size(ch)
	case inExtension:
		if c.extra++; c.extra > maxExtension || ch == '\n' || ch < 0x20 && ch != '\t' && ch != '\r' {
			return ErrChunk
		}
		if ch == '\r' {
			c.state = afterSize
		}
	case afterSize:
		if ch != '\n' {
			return ErrChunk
		}
		c.digits, c.extra, c.state = 0, 0, inData
		if c.left == 0 {
			c.state = trailerStart
		}
	case afterData:
		if ch != '\r' {
			return ErrChunk
		}
		c.state = afterDataCR
	case afterDataCR:
		if ch != '\n' {
			return ErrChunk
		}
		c.state = inSize
	default:
		return c.trail(ch)
	}
	return nil
}

func (c *Chunks) size(ch byte) error {
	switch {
	case isHex(ch):
		// 15 digits are 60 bits: far above any body, and no overflow.
		if c.digits++; c.digits > 15 {
			return ErrChunk
		}
		c.left = c.left<<4 | uint64(unhex(ch))
	case c.digits == 0:
		return ErrChunk
	case ch == ';':
		c.state = inExtension
	case ch == '\r':
		c.state = afterSize
	default:
		return ErrChunk
	}
	return nil
}

func (c *Chunks) trail(ch byte) error {
	switch c.state {
	case trailerStart:
		if ch == '\r' {
			c.state = lastLF
			return nil
		}
		c.state = inTrailer
		return c.keep(ch)
	case inTrailer:
		if ch == '\n' {
			return ErrTrailer
		}
		if ch == '\r' {
			c.state = trailerLF
		}
		return c.keep(ch)
	case trailerLF:
		if ch != '\n' {
			return ErrTrailer
		}
		c.state = trailerStart
		return c.keep(ch)
	case lastLF:
		if ch != '\n' {
			return ErrTrailer
		}
		if err := c.checkTrailer(); err != nil {
			return err // the body has not ended: nothing may follow it
		}
		c.state = ended
		return nil
	}
	return ErrChunk
}

func (c *Chunks) keep(ch byte) error {
	if len(c.trailer) == maxTrailer {
		return ErrTrailer
	}
	c.trailer = append(c.trailer, ch)
	return nil
}

// checkTrailer refuses trailers that are malformed or that would change what was already
// decided from the head (RFC 9110 6.5.1).
func (c *Chunks) checkTrailer() error {
	if len(c.trailer) == 0 {
		return nil
	}
	var t plugin.Header
	return c.Trailer(&t)
}

// Trailer parses the trailer section of a body that has ended into fields. The strings are
// valid until Reset.
func (c *Chunks) Trailer(fields *plugin.Header) error {
	var h Head
	h.reset()
	c.trailer = append(c.trailer, '\r', '\n')
	err := h.fields(c.trailer, RequestLimits.Fields, fields)
	c.trailer = c.trailer[:len(c.trailer)-2]
	if err != nil {
		return ErrTrailer
	}
	for _, f := range fields.Fields() {
		if framingName(f.Name) || plugin.EqualName(f.Name, "authorization") || plugin.EqualName(f.Name, "cookie") {
			return ErrTrailer
		}
	}
	return nil
}

// Room is what AppendChunk needs beside the data: SizeRoom bytes before it and two after.
const (
	SizeRoom = 10
	EndRoom  = 2
)

// FrameChunk frames the data b[lo:hi] as one chunk in place: it writes the size before and the
// line end after it and returns the bounds of the chunk. There must be SizeRoom bytes before
// lo and EndRoom after hi; hi-lo must be positive and below 1<<32.
func FrameChunk(b []byte, lo, hi int) (int, int) {
	const hex = "0123456789abcdef"
	n := hi - lo
	b[hi], b[hi+1] = '\r', '\n'
	b[lo-1], b[lo-2] = '\n', '\r'
	lo -= 2
	for ; n > 0; n >>= 4 {
		lo--
		b[lo] = hex[n&15]
	}
	return lo, hi + EndRoom
}

// LastChunk ends a chunked body that has no trailer.
const LastChunk = "0\r\n\r\n"
