package engine

import (
	"io"
	"net"

	"github.com/sekifuda/sekifuda/plugin"
)

// mute is the client of an exchange without HTTP: it has no body, and hears no answer.
type mute struct{ net.Conn }

var _ client = mute{}

func (mute) whole() ([]byte, bool)                                { return nil, true }
func (mute) readBody([]byte) (int, error)                         { return 0, io.EOF }
func (mute) invite()                                              {}
func (mute) outBuffer() []byte                                    { return nil }
func (mute) keepOut([]byte)                                       {}
func (mute) stopBody()                                            {}
func (mute) start(*exchange, []byte, bool) error                  { return nil }
func (mute) send(*exchange, []byte, int, int) error               { return nil }
func (mute) finish(*exchange, *plugin.Header) error               { return nil }
func (m mute) cut()                                               { m.Close() }
func (mute) interim(*exchange, int, string, *plugin.Header) error { return nil }
func (m mute) tunnel() (net.Conn, []byte)                         { return m.Conn, nil }
func (mute) gone() bool                                           { return false }
