package outbox

import (
	"net"
	"testing"
	"time"
)

func TestNamesAreResolvedAnew(t *testing.T) {
	t.Parallel()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	now := time.Unix(1700000000, 0)
	s := &Socket{Network: "udp", Addr: server.LocalAddr().String(), Timeout: time.Minute, Now: func() time.Time { return now }}
	defer s.Close()
	send := func() net.Conn {
		if err := s.Send(t.Context(), [][]byte{[]byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := server.ReadFrom(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		return s.conn
	}
	first := send()
	now = now.Add(resolveEvery - time.Second)
	if send() != first {
		t.Error("a socket is not used again")
	}
	now = now.Add(time.Second)
	if send() == first {
		t.Error("an address is used for ever")
	}
}
