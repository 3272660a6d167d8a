//go:build !linux || 386 || s390x

package socket

// peek has nothing to remember here.
type peek struct{}

func (*peek) init() {}

// Readable implements Conn.
func (c *announced) Readable() bool { return readable(c.TCPConn) }
