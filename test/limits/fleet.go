package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lead is how long gates have to start before the load does.
const lead = 1500 * time.Millisecond

// runFleet runs gates as processes of their own and adds up what they report. begin is when
// the load starts; o.Rate is of all.
func runFleet(gates int, o orders, begin time.Time) (*report, error) {
	o.Begin, o.Rate = begin, o.Rate/float64(gates)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	total := newReport()
	ctx, cancel := context.WithTimeout(context.Background(), time.Until(begin)+o.For+time.Minute)
	defer cancel()
	var (
		mu     sync.Mutex // guards total and failed
		failed error
		wg     sync.WaitGroup
	)
	for range gates {
		wg.Go(func() {
			r, err := runGate(ctx, self, string(text))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			total.add(r)
		})
	}
	wg.Wait()
	return total, failed
}

func runGate(ctx context.Context, self, text string) (*report, error) {
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), gateVariable+"="+text)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe() // it ends when this process does
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run a gate: %w: %s", err, errs.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("read a gate's report: %w", err)
	}
	return &r, nil
}

// scriptCalls is how many scripts Redis ran.
func scriptCalls(ctx context.Context, c redis.UniversalClient) (n int64, err error) {
	return countCalls(ctx, c, "evalsha", "eval")
}

// countCalls is how often Redis ran the named commands.
func countCalls(ctx context.Context, c redis.UniversalClient, names ...string) (n int64, err error) {
	text, err := c.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		for _, name := range names {
			if rest, ok := strings.CutPrefix(s.Text(), "cmdstat_"+name+":calls="); ok {
				var calls int64
				if _, err := fmt.Sscanf(rest, "%d", &calls); err != nil {
					return 0, err
				}
				n += calls
			}
		}
	}
	return n, nil
}
