package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// load is one way to ask.
type load struct {
	name        string
	connections int
	rate        int // requests a second in all; 0: as fast as answers come
	duration    time.Duration
	path        string // below /
	secure      bool   // over TLS
	fresh       bool   // a connection for each request
}

// of is the URL that a load asks of a candidate; "": the candidate is not for it. Chains are
// measured by plain loads only.
func (l *load) of(c *candidate) string {
	base := c.url
	if l.secure {
		base = c.secure
	}
	if base == "" || c.headers != nil && (l.secure || l.path != "") {
		return ""
	}
	return base + l.path
}

// measure puts load on a candidate and reads what it cost.
func (b *bench) measure(c *candidate, l load) (sample, error) {
	before, err := cpu(c.pid)
	if err != nil {
		return sample{}, err
	}
	run := b.wrk
	switch {
	case l.rate > 0:
		run = b.paced
	case l.fresh:
		run = b.fresh
	}
	s, err := run(c, l)
	if err != nil {
		return s, err
	}
	after, err := cpu(c.pid)
	if err != nil {
		return s, err
	}
	if s.Requests == 0 || s.Errors > 0 {
		return s, fmt.Errorf("%d requests, %d errors", s.Requests, s.Errors)
	}
	s.Case, s.Candidate = l.name, c.name
	s.CPU = float64((after - before).Microseconds()) / float64(s.Requests)
	return s, nil
}

// tick is the kernel's unit of process times.
const tick = 10 * time.Millisecond

// cpu reads the user and system time of a process.
func cpu(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	user, err := strconv.ParseInt(f[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkLatency  = regexp.MustCompile(`(50|99)%\s+([\d.]+)(us|ms|s)`)
	wrkErrors   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)|Non-2xx or 3xx responses: (\d+)`)
)

// wrk asks as fast as answers come.
func (b *bench) wrk(c *candidate, l load) (sample, error) {
	args := []string{"-c", otherCore, "wrk", "-t1", fmt.Sprintf("-c%d", l.connections), fmt.Sprintf("-d%ds", int(l.duration.Seconds())), "--latency"}
	for _, h := range c.headers {
		args = append(args, "-H", h)
	}
	out, err := exec.Command("taskset", append(args, l.of(c))...).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	var s sample
	if m := wrkRequests.FindSubmatch(out); m != nil {
		s.Requests, _ = strconv.ParseInt(string(m[1]), 10, 64)
	}
	for _, m := range wrkLatency.FindAllSubmatch(out, -1) {
		v, _ := strconv.ParseFloat(string(m[2]), 64)
		v *= map[string]float64{"us": 1, "ms": 1e3, "s": 1e6}[string(m[3])]
		if string(m[1]) == "50" {
			s.P50 = v
		} else {
			s.P99 = v
		}
	}
	if wrkErrors.Match(out) {
		s.Errors = 1
		return s, fmt.Errorf("wrk: %s", out)
	}
	return s, nil
}

// paced asks at a fixed rate, from a process of its own so that it can be pinned.
func (b *bench) paced(c *candidate, l load) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	args := []string{"-c", otherCore, self, "serve-load", l.of(c), strconv.Itoa(l.connections), strconv.Itoa(l.rate), l.duration.String()}
	out, err := exec.Command("taskset", append(args, c.headers...)...).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("load: %w\n%s", err, out)
	}
	var s sample
	_, err = fmt.Sscan(string(out), &s.Requests, &s.Errors, &s.P50, &s.P99)
	return s, err
}

// fresh makes a connection for each request, with a whole handshake.
func (b *bench) fresh(c *candidate, l load) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	out, err := exec.Command("taskset", "-c", otherCore, self, "serve-fresh", l.of(c), strconv.Itoa(l.connections), l.duration.String()).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("fresh: %w\n%s", err, out)
	}
	var s sample
	_, err = fmt.Sscan(string(out), &s.Requests, &s.Errors, &s.P50, &s.P99)
	return s, err
}

// serve runs one of the processes that bench starts of itself.
func serve(what string, args []string) {
	switch what {
	case "serve-reverseproxy":
		target := &url.URL{Scheme: "http", Host: args[1]}
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 512
		p := &httputil.ReverseProxy{Transport: t, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }}
		fmt.Fprintln(os.Stderr, http.ListenAndServe(args[0], p))
	case "serve-load":
		connections, _ := strconv.Atoi(args[1])
		rate, _ := strconv.Atoi(args[2])
		d, _ := time.ParseDuration(args[3])
		pace(args[0], connections, rate, d, args[4:])
	case "serve-fresh":
		connections, _ := strconv.Atoi(args[1])
		d, _ := time.ParseDuration(args[2])
		renew(args[0], connections, d)
	}
}

// pace runs connections that each send at a fixed rate, and prints requests, errors and the
// 50th and 99th percentile in microseconds. A late answer delays its connection's next
// request, and that delay counts (no coordinated omission).
func pace(target string, connections, rate int, d time.Duration, headers []string) {
	u, err := url.Parse(target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	req := "GET / HTTP/1.1\r\nHost: " + u.Host + "\r\n"
	for _, h := range headers {
		req += h + "\r\n"
	}
	req += "\r\n"
	interval := time.Duration(float64(time.Second) * float64(connections) / float64(rate))
	start := time.Now().Add(50 * time.Millisecond)
	var mu sync.Mutex
	var all []time.Duration
	var errors int64
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			first := start.Add(interval * time.Duration(i) / time.Duration(connections))
			mine, err := paceOne(u.Host, req, first, interval, start.Add(d))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err != nil {
				errors++
			}
		})
	}
	wg.Wait()
	tell(all, errors)
}

// tell prints requests, errors and the 50th and 99th percentile in microseconds.
func tell(all []time.Duration, errors int64) {
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(p float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(p*float64(len(all)-1))].Nanoseconds()) / 1e3
	}
	fmt.Println(len(all), errors, at(0.5), at(0.99))
}

func paceOne(addr, req string, next time.Time, interval time.Duration, end time.Time) ([]time.Duration, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r := bufio.NewReaderSize(c, 8192)
	var list []time.Duration
	for ; next.Before(end); next = next.Add(interval) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := io.WriteString(c, req); err != nil {
			return list, err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return list, err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return list, err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return list, fmt.Errorf("%s", res.Status)
		}
		list = append(list, time.Since(next))
	}
	return list, nil
}
