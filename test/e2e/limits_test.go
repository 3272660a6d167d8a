package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestLimitsAreShownAndSetBack counts on both nodes of a fleet, on each alone and in Redis, and sets
// a client's counts back.
func TestLimitsAreShownAndSetBack(t *testing.T) {
	t.Parallel()
	f, up := newFleet(t, "default"), echo(t)
	redis := services.NewRedis(t)
	host, port, _ := strings.Cut(strings.TrimPrefix(redis.URL, "redis://"), ":")
	port, _, _ = strings.Cut(port, "/")
	admin := f.Replicas[0].URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	for i, config := range []string{
		`{"year":1000}`,
		fmt.Sprintf(`{"year":50,"policy":"redis","redis":{"host":"%s","port":%s}}`, host, port),
	} {
		put(t, fmt.Sprintf("%s/services/s/routes/r%d", admin, i), fmt.Sprintf(`{"paths":["/r%d"]}`, i))
		put(t, fmt.Sprintf("%s/routes/r%d/plugins/%s", admin, i, strings.Replace(uuid, "5b2b", fmt.Sprint("000", i), 1)), `{"name":"rate-limiting","config":`+config+`}`)
	}
	send := func(path string) {
		t.Helper()
		for i, n := range f.Nodes["default"] {
			stack.Eventually(t, func() error { // the second node hears of the route by the other replica, and then of the limit
				res, err := http.Get(n.URLs["proxy"] + path)
				if err != nil {
					return err
				}
				res.Body.Close()
				if res.StatusCode != http.StatusOK || res.Header.Get("X-RateLimit-Limit-Year") == "" {
					return fmt.Errorf("node %d answers %d with %v", i, res.StatusCode, res.Header)
				}
				return nil
			})
		}
	}
	send("/r0")
	send("/r1")
	send("/r1")
	row := func(replica int, line, pluginID string) string {
		t.Helper()
		out := f.Seki(replica, line)
		for _, l := range strings.Split(out, "\n") {
			if strings.HasPrefix(l, pluginID) {
				return regexp.MustCompile(` +`).ReplaceAllString(l, " ")
			}
		}
		return out
	}
	local, shared := strings.Replace(uuid, "5b2b", "0000", 1), strings.Replace(uuid, "5b2b", "0001", 1)
	says := func(replica int, line, id, want string) {
		t.Helper()
		stack.Eventually(t, func() error { // the replicas meet, and what nodes count reaches Redis, after a moment
			if got := row(replica, line, id); got != id+want {
				return fmt.Errorf("seki %s says %q, want %q", line, got, id+want)
			}
			return nil
		})
	}
	// Each replica asks the nodes of both.
	says(0, "limits", local, " 127.0.0.1 year 2 1000 998 on each node")
	says(1, "limits 127.0.0.1 --plugin "+shared, shared, " 127.0.0.1 year 4 50 46 for all nodes")
	for replica, id := range []string{local, shared} {
		if got := row(replica, "limits 127.0.0.1 --reset --reason tests --plugin "+id, id); !strings.Contains(got, " year 0 ") {
			t.Errorf("after --reset it is %q", got)
		}
	}
	if out, code := stack.Shell(t, []string{"SEKI_SERVER=" + f.Replicas[0].Addr("admin gRPC")}, stack.Binary(t)+" limits --reset"); code != 1 || !strings.Contains(out, "say whose counts") {
		t.Errorf("seki limits --reset: exit %d %s", code, out)
	}
}
