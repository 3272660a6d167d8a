package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

// levelExit is the end of a verb whose exit code is how bad things are.
type levelExit struct{ level ops.Level }

func (e levelExit) Error() string { return e.level.String() }

// stackFlags are where an installation is reached, for verbs that look at it from outside.
type stackFlags struct {
	admin, proxy, nodes, thresholds *string
}

func (f *flags) stackFlags() stackFlags {
	return stackFlags{
		admin:      f.String("admin", "http://localhost:8001", "URL of the Admin API"),
		proxy:      f.String("proxy", "http://localhost:8080", "URL of the proxy"),
		nodes:      f.String("nodes", "localhost:8007", "status listeners of the nodes, comma-separated"),
		thresholds: f.String("thresholds", "", "YAML file of thresholds; what it does not name keeps its default"),
	}
}

func (s stackFlags) read() (*ops.Stack, ops.Thresholds, error) {
	stack := &ops.Stack{
		Admin: strings.TrimSuffix(*s.admin, "/"), Proxy: strings.TrimSuffix(*s.proxy, "/"),
		// A redirect is an answer, and a connection of its own is what a client has.
		Client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	for _, n := range strings.Split(*s.nodes, ",") {
		if n = strings.TrimSpace(n); n != "" {
			stack.Status = append(stack.Status, "http://"+strings.TrimPrefix(n, "http://"))
		}
	}
	if *s.thresholds == "" {
		return stack, ops.Defaults(), nil
	}
	raw, err := os.ReadFile(*s.thresholds)
	if err != nil {
		return nil, nil, fmt.Errorf("--thresholds: %w", err)
	}
	t, err := ops.ParseThresholds(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("--thresholds %s: %w", *s.thresholds, err)
	}
	return stack, t, nil
}

// monitor watches an installation: once, or until it is stopped.
func monitor(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS]   (exit code with --once: 0 well, 1 warning, 2 critical)")
	where := f.stackFlags()
	once := f.Bool("once", false, "take one reading and end")
	asJSON := f.Bool("json", false, "print readings as lines of JSON")
	every := f.Duration("interval", 10*time.Second, "time between readings")
	alerts := f.String("alert-log", "/tmp/kong_alerts.log", "file of all that is not well; off: none")
	values := f.String("metrics-log", "/tmp/kong_metrics.log", "file with a line of values for each reading; off: none")
	webhook := f.String("webhook", "", "URL that is told of changes for the worse and back")
	mail := mailFlags(f)
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() != 0 || *every < time.Second {
		f.Usage()
		return errUsage
	}
	stack, thresholds, err := where.read()
	if err != nil {
		return err
	}
	m := &ops.Monitor{
		Stack: stack, Thresholds: thresholds, AlertLog: offIsNone(*alerts), MetricsLog: offIsNone(*values),
		Problem: func(err error) { fmt.Fprintln(c.err, "seki monitor:", err) },
	}
	defer m.Close()
	if *webhook != "" {
		m.Notifiers = append(m.Notifiers, ops.Webhook{URL: *webhook, Client: http.DefaultClient})
	}
	if n, err := mail(c); err != nil {
		return err
	} else if n != nil {
		m.Notifiers = append(m.Notifiers, n)
	}
	screen := c.screen(*asJSON, *once)
	if *once {
		m.Begin(ctx)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		r, all := m.Once(ctx)
		screen(r, all)
		return levelOf(ops.Worst(all))
	}
	return watch(ctx, m, *every, screen)
}

func levelOf(l ops.Level) error {
	if l == ops.OK {
		return nil
	}
	return levelExit{l}
}

func watch(ctx context.Context, m *ops.Monitor, every time.Duration, screen func(*ops.Reading, []ops.Finding)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		screen(m.Once(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func offIsNone(path string) string {
	if path == "off" {
		return ""
	}
	return path
}

// mailFlags adds the flags of mail; the function it returns makes the notifier, nil for none.
func mailFlags(f *flags) func(*call) (ops.Notifier, error) {
	server := f.String("smtp", "", "mail server, host:port, for alerts by mail")
	from := f.String("mail-from", "", "sender of alerts")
	to := f.String("mail-to", "", "receivers of alerts, comma-separated")
	user := f.String("smtp-user", "", "user at the mail server; the password is SEKI_SMTP_PASSWORD")
	return func(c *call) (ops.Notifier, error) {
		if *server == "" {
			return nil, nil
		}
		if *from == "" || *to == "" {
			return nil, fmt.Errorf("--smtp needs --mail-from and --mail-to")
		}
		return ops.Mail{Server: *server, From: *from, To: strings.Split(*to, ","), User: *user, Password: c.getenv("SEKI_SMTP_PASSWORD")}, nil
	}
}

// screen prints readings: JSON lines, or one screen that is drawn anew.
func (c *call) screen(asJSON, once bool) func(*ops.Reading, []ops.Finding) {
	if asJSON {
		e := json.NewEncoder(c.out)
		return func(r *ops.Reading, all []ops.Finding) {
			_ = e.Encode(map[string]any{"at": r.At, "level": ops.Worst(all).String(), "findings": all, "reading": r}) // nobody reads any more
		}
	}
	return func(r *ops.Reading, all []ops.Finding) {
		if !once {
			fmt.Fprint(c.out, "\x1b[H\x1b[2J")
		}
		printFindings(c.out, r, all)
	}
}

// printFindings prints the worst first.
func printFindings(w io.Writer, r *ops.Reading, all []ops.Finding) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b ops.Finding) int { return int(b.Level) - int(a.Level) })
	for _, f := range all {
		fmt.Fprintln(w, ops.Line(r.At, f))
	}
}
