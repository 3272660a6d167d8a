package deck

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScale syncs 10,000 services, routes and consumers, twice. The gateway must not be the
// slower side: it may use no more CPU time than decK itself.
func TestScale(t *testing.T) {
	const each = 10_000
	onBothStores(t, func(t *testing.T, d *deck) {
		file := d.write(large(each))
		for _, round := range []struct {
			what    string
			created int
		}{{"create", 3 * each}, {"nothing to do", 0}} {
			server := cpu(t, d.gateway.PID())
			begin := time.Now()
			cmd := exec.Command(d.path, "--analytics=false", "--kong-addr", d.gateway.URLs["admin"], "gateway", "sync", file)
			out, err := cmd.CombinedOutput()
			wall := time.Since(begin)
			if err != nil {
				t.Fatalf("sync: %v\n%s", err, out[max(0, len(out)-2000):])
			}
			d.changes(string(out), round.created, 0, 0)
			server = cpu(t, d.gateway.PID()) - server
			client := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			fmt.Printf("decK: %s: 30,000 entities in %.1f s, %.0f/s; CPU of decK %.1f s, of the gateway %.1f s\n",
				round.what, wall.Seconds(), 3*each/wall.Seconds(), client.Seconds(), server.Seconds())
			if server > client {
				t.Errorf("%s: the gateway used %v of CPU, decK %v", round.what, server, client)
			}
		}
	})
}

// large is a state of n services with a route each, and n consumers.
func large(n int) []byte {
	var b bytes.Buffer
	b.WriteString("_format_version: \"3.0\"\nservices:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: s%d, url: \"http://127.0.0.1:9/%d\", routes: [{name: r%d, paths: [/r/%d]}]}\n", i, i, i, i)
	}
	b.WriteString("consumers:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {username: c%d, custom_id: id-%d}\n", i, i)
	}
	return b.Bytes()
}

// cpu is the CPU time that a process has used (proc(5): utime and stime, in hundredths of a
// second).
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// The second field is the program's name, which may have blanks.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
