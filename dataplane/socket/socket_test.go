package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a connection over loopback, the first one wrapped.
func pair(t testing.TB) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	c, ok := Wrap(near).(*Conn)
	if !ok {
		t.Skip("sockets are not raw on this system")
	}
	return c, far.(*net.TCPConn)
}

func TestCarriesBytesBothWays(t *testing.T) {
	t.Parallel()
	c, far := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than the kernel buffers
	go func() {
		io.Copy(far, far)
		far.CloseWrite()
	}()
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		wrote <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
	}
	if err := <-wrote; err != nil {
		t.Errorf("Write: %v", err)
	}
}

func TestEmptyReadsAndWritesDoNothing(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v", n, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("Write(nil) = %d, %v", n, err)
	}
}

func TestDeadlineEndsAReadAndAWrite(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	past := time.Unix(1, 0)
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	c.SetReadDeadline(past)
	write := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, 64<<20)); write <- err }()
	c.SetWriteDeadline(past)
	for what, ch := range map[string]chan error{"Read": read, "Write": write} {
		err := <-ch
		var n net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &n) || !n.Timeout() {
			t.Errorf("%s past its deadline: %v", what, err)
		}
	}
}

func TestCloseEndsARead(t *testing.T) {
	t.Parallel()
	c, _ := pair(t)
	read := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	c.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of a closed connection: %v", err)
	}
}

func TestPeersEndAndReset(t *testing.T) {
	t.Parallel()
	c, far := pair(t)
	far.CloseWrite()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read at the end = %d, %v", n, err)
	}
	c, far = pair(t)
	far.SetLinger(0)
	far.Close()
	_, err := c.Read(make([]byte, 1))
	var o *net.OpError
	if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &o) || o.Op != "read" {
		t.Errorf("Read after a reset: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after a reset: %v", err)
	}
}

func TestWrapLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Wrap(a) != a || TCP(a) != nil {
		t.Error("a pipe was wrapped")
	}
	c, _ := pair(t)
	if TCP(c) != c.TCPConn || TCP(c.TCPConn) != c.TCPConn {
		t.Error("TCP does not find the connection")
	}
}

func TestAllocatesNothing(t *testing.T) {
	c, far := pair(t)
	go io.Copy(far, far)
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}); n >= 0.05 {
		t.Errorf("%v allocations per write and read", n)
	}
}
