// Command seki is Sekifuda: the gateway, its control plane, its nodes, and the operator's
// verbs. One file is one verb.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"syscall"
)

// version is set by the build.
var version = "dev"

// verb is one word of the command line.
type verb struct {
	summary string
	run     func(ctx context.Context, c *call) error
}

// call is one invocation: its arguments, its streams and its environment.
type call struct {
	name    string
	args    []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) string
	environ []string
}

var verbs = map[string]verb{}

func init() {
	verbs = map[string]verb{
		"run":          {"both planes in one process", runAll},
		"controlplane": {"the control plane alone", runControlPlane},
		"dataplane":    {"a node alone", runDataPlane},
		"store":        {"move an embedded store to PostgreSQL, while it is used", storeVerb},
		"migrate":      {"bring a database's tables up to date", migrate},
		"get":          {"show entities", get},
		"apply":        {"make configuration be what files say, after showing the difference", apply},
		"delete":       {"delete an entity", remove},
		"status":       {"the installation at a glance", showStatus},
		"log":          {"revisions, newest first", showLog},
		"diff":         {"what changed between two revisions", diff},
		"show":         {"one revision: who, why, and what it changed", show},
		"revert":       {"take a revision back, or all that came after one", revert},
		"group":        {"groups of nodes: which revision each runs", group},
		"switch":       {"give each of two groups what the other runs", switchGroups},
		"rollback":     {"take a group back to what it ran before", rollback},
		"release":      {"move a group to a revision, a share of its nodes at a time", releases},
		"backup":       {"write the whole configuration to a file, encrypted, and read it back", backup},
		"restore":      {"make configuration be what a backup has", restore},
		"drill":        {"rehearse a restore in a scratch store, and note it", drill},
		"monitor":      {"watch the installation by thresholds, write alerts, tell of them", monitor},
		"doctor":       {"the daily, weekly and monthly checklists, with what to do", examine},
		"explain":      {"why a request was refused, by its X-Kong-Request-Id", explain},
		"block":        {"refuse a consumer, key, route, service or cidr everywhere at once, for a while", blockThings},
		"unblock":      {"end a block before its time", unblockThings},
		"window":       {"list, publish or drop change windows", window},
		"import":       {"take over the configuration of a Kong, as one revision", importConfig},
		"limits":       {"what clients used of limits; set counts back", limits},
		"nodes":        {"the nodes and what they enforce; revoke one", nodes},
		"token":        {"tokens by which nodes join", tokens},
		"audit":        {"what was done through the Admin API; verify that nothing is missing", audit},
		"keys":         {"rotate the keys of secrets and the nodes' authority", keys},
		"version":      {"print the version", printVersion},
	}
}

// errUsage says that the command line was wrong and that the verb has said how.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &call{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, environ: os.Environ()}
	end, err := profile(os.Getenv(profileEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, "seki:", err)
		os.Exit(2)
	}
	code := c.main(ctx, os.Args[1:])
	end()
	os.Exit(code)
}

// main runs one command line and returns its exit code: 0 done, 1 failed, 2 misused; verbs that
// tell how things are exit with how bad they are.
func (c *call) main(ctx context.Context, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		c.help()
		return 0
	}
	v, ok := verbs[args[0]]
	if !ok {
		fmt.Fprintf(c.err, "seki: no verb named %q; seki help lists them\n", args[0])
		return 2
	}
	c.name, c.args = args[0], args[1:]
	err := v.run(ctx, c)
	var level levelExit
	switch {
	case errors.As(err, &level):
		return int(level.level)
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(c.err, "seki %s: %v\n", c.name, err)
	return 1
}

func (c *call) help() {
	fmt.Fprint(c.out, "Sekifuda, an API gateway.\n\n  seki VERB [FLAGS] [ARGUMENTS]\n\n")
	names := make([]string, 0, len(verbs))
	for n := range verbs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(c.out, "  %-13s %s\n", n, verbs[n].summary)
	}
	fmt.Fprint(c.out, "\nseki VERB --help tells a verb's flags. Every flag can be set by its SEKI_ variable too:\n--proxy-listen is SEKI_PROXY_LISTEN.\n")
}

func printVersion(_ context.Context, c *call) error {
	_, err := fmt.Fprintln(c.out, "sekifuda", version)
	return err
}
