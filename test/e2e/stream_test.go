package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/stack"
)

// greeter is a server that speaks first, as many do that carry no HTTP.
func greeter(t *testing.T, word string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, word)
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// TestStreams drives routes for connections without HTTP as a user does: over the Admin API,
// on listeners of their own, by port and by name, with a log.
func TestStreams(t *testing.T) {
	t.Parallel()
	a := stack.FreePorts(t, 2)
	p := run(t, t.TempDir(), "--stream-listen", a[0]+", "+a[1]+" ssl")
	admin := p.URLs["admin"]
	_, port, _ := net.SplitHostPort(a[0])
	host, upPort, _ := net.SplitHostPort(greeter(t, "plain"))
	put(t, admin+"/services/plain", fmt.Sprintf(`{"protocol":"tcp","host":%q,"port":%s}`, host, upPort))
	put(t, admin+"/services/plain/routes/by-port", fmt.Sprintf(`{"protocols":["tcp"],"destinations":[{"port":%s}]}`, port))
	host, upPort, _ = net.SplitHostPort(greeter(t, "named"))
	put(t, admin+"/services/named", fmt.Sprintf(`{"protocol":"tcp","host":%q,"port":%s}`, host, upPort))
	put(t, admin+"/services/named/routes/by-name", `{"protocols":["tls"],"snis":["a.test"]}`)
	log := filepath.Join(t.TempDir(), "log")
	if code, body := call(t, "POST", admin+"/plugins", fmt.Sprintf(`{"name":"file-log","protocols":["tcp","tls"],"config":{"path":%q}}`, log)); code != 201 {
		t.Fatalf("POST /plugins: %d %s", code, body)
	}
	plain, err := net.Dial("tcp", a[0])
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, plain, "plain")
	secure, err := tls.Dial("tcp", a[1], &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, secure, "named")
	if _, err := tls.Dial("tcp", a[1], &tls.Config{ServerName: "b.test", InsecureSkipVerify: true}); err == nil {
		t.Error("a name without a route is served")
	}
	stack.Eventually(t, func() error {
		text, _ := os.ReadFile(log)
		if n := strings.Count(string(text), `{"session":{"received":`); n != 2 {
			return fmt.Errorf("%d entries in the log, want 2: %s", n, text)
		}
		return nil
	})
}

func greeted(t *testing.T, c net.Conn, word string) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	line, _ := r.ReadString('\n')
	fmt.Fprintln(c, "echo")
	echo, err := r.ReadString('\n')
	if line != word+"\n" || echo != "echo\n" {
		t.Errorf("heard %q and %q (%v), want %s and echo", line, echo, err, word)
	}
}
