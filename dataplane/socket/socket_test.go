package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kinds are the ways to wrap a connection.
var kinds = map[string]func(*net.TCPConn) Conn{
	"announced": func(c *net.TCPConn) Conn { return announce(c) },
	"polled":    func(c *net.TCPConn) Conn { s, _ := poll(c).(Conn); return s },
}

// each runs a test with both ends of a connection over loopback, the first one wrapped.
func each(t *testing.T, test func(t *testing.T, c Conn, far *net.TCPConn)) {
	t.Helper()
	for name, wrap := range kinds {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			c := wrap(near)
			if c == nil {
				t.Skip("this system has no such connections")
			}
			t.Cleanup(func() { c.Close() })
			test(t, c, far)
		})
	}
}

func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(); f.Close() })
	return n.(*net.TCPConn), f.(*net.TCPConn)
}

func TestCarriesBytesBothWays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, far *net.TCPConn) {
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
	})
}

func TestEmptyReadsAndWritesDoNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("Read(nil) = %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("Write(nil) = %d, %v", n, err)
		}
	})
}

func TestDeadlineEndsAReadAndAWrite(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
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
	})
}

func TestCloseEndsARead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, _ *net.TCPConn) {
		read := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		c.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read of a closed connection: %v", err)
		}
	})
}

func TestPeersEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		if c.HungUp() || c.Readable() {
			t.Error("nothing has happened, but it shows")
		}
		far.Write([]byte("ab"))
		far.CloseWrite()
		// The end comes with the last bytes: it must be found all the same.
		if got, err := io.ReadAll(c); string(got) != "ab" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read at the end = %d, %v", n, err)
		}
		if !c.HungUp() || !c.Readable() {
			t.Error("the end does not show")
		}
	})
}

func TestPeersReset(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, far *net.TCPConn) {
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
	})
}

// TestDeadlineMoves waits past a deadline that was moved, and again after it has passed.
func TestDeadlineMoves(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c Conn, far *net.TCPConn) {
		b := make([]byte, 8)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read past its deadline: %v", err)
		}
		far.Write([]byte("x"))
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read with bytes there, past its deadline: %v", err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.Read(b); n != 1 || err != nil {
			t.Errorf("Read = %d, %v after the deadline was moved", n, err)
		}
		c.SetReadDeadline(time.Time{})
		far.Write([]byte("y"))
		if n, err := c.Read(b); n != 1 || err != nil {
			t.Errorf("Read = %d, %v without a deadline", n, err)
		}
	})
}

// TestManyAtOnce has readers wait for single bytes while descriptors come and go.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for name, wrap := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range 20 {
						near, far := pair(t)
						c := wrap(near)
						if c == nil {
							return
						}
						wg.Go(func() { io.Copy(far, far); far.Close() })
						b := make([]byte, 64)
						for i := range 50 {
							if _, err := c.Write([]byte{byte(i)}); err != nil {
								t.Error(err)
							}
							if n, err := c.Read(b); n != 1 || err != nil || b[0] != byte(i) {
								t.Errorf("Read = %d, %v", n, err)
							}
						}
						c.Close()
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestWrapLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Wrap(a) != a {
		t.Error("a pipe was wrapped")
	}
}

func TestAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, c Conn, far *net.TCPConn) {
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
	})
}
