package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// flags is a verb's flag set whose flags can also be set by environment and, for the
// planes, by Kong's settings and by a file of the same keys. The command line wins over the
// environment, the environment over Kong's settings, those over the file, the file over the
// default.
type flags struct {
	*flag.FlagSet
	c    *call
	file *string
	kong *string // kong.conf; nil: Kong's settings are not read

	server    *string        // of verbs that talk to a control plane
	wait      *time.Duration // of verbs that wait for nodes
	calls     time.Duration  // how long a verb may talk; 0: callTimeout
	tokenFile *string        // of who asks
	tls       tlsSettings    // of verbs that talk

	// ignored are Kong's settings that have no place here, for the log.
	ignored map[string]string
}

func (c *call) flags(usage string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("seki "+c.name, flag.ContinueOnError), c: c}
	f.SetOutput(c.err)
	f.Usage = func() {
		fmt.Fprintf(c.err, "seki %s %s\n\n", c.name, usage)
		f.VisitAll(func(fl *flag.Flag) {
			name := fl.Name
			def := fl.DefValue
			if def == "" {
				def = "none"
			}
			fmt.Fprintf(c.err, "  --%-26s %s (default %s; %s)\n", name, fl.Usage, def, variable(name))
		})
	}
	return f
}

// configFile adds --config.
func (f *flags) configFile() {
	f.file = f.String("config", "", "YAML file of settings, with flags' names as keys")
}

// kongConf adds --kong-conf and reads KONG_ variables.
func (f *flags) kongConf() {
	f.kong = f.String("kong-conf", "", "a kong.conf to read; KONG_ variables are read too, and win over it")
}

// variable is a flag's environment variable.
func variable(name string) string {
	return "SEKI_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parse reads the command line, the environment and the file.
func (f *flags) parse() error {
	if err := f.parseMixed(f.c.args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // the flag set has said what is wrong
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	fromFile, err := f.readFile()
	if err != nil {
		return err
	}
	fromKong, err := f.readKong()
	if err != nil {
		return err
	}
	var bad error
	f.VisitAll(func(fl *flag.Flag) {
		if given[fl.Name] || bad != nil {
			return
		}
		value, source := f.c.getenv(variable(fl.Name)), variable(fl.Name)
		if value == "" {
			var ok bool
			if value, ok = fromKong[fl.Name]; ok {
				source = "Kong's settings"
			} else if value, ok = fromFile[fl.Name]; ok {
				source = *f.file + ": " + fl.Name
			} else {
				return
			}
		}
		if err := f.Set(fl.Name, value); err != nil {
			bad = fmt.Errorf("%s: %q: %w", source, value, err)
		}
	})
	return bad
}

// parseMixed takes flags before, between and after the other arguments; what follows "--" is
// no flag.
func (f *flags) parseMixed(args []string) error {
	var others []string
	for {
		if err := f.FlagSet.Parse(args); err != nil {
			return err
		}
		rest := f.Args()
		if len(rest) == 0 {
			break
		}
		if ended := len(args) - len(rest) - 1; ended >= 0 && args[ended] == "--" {
			others = append(others, rest...)
			break
		}
		others, args = append(others, rest[0]), rest[1:]
	}
	return f.FlagSet.Parse(append([]string{"--"}, others...))
}

// readKong reads Kong's settings as ours, only those that this verb has flags for.
func (f *flags) readKong() (map[string]string, error) {
	if f.kong == nil {
		return nil, nil
	}
	file := *f.kong
	if file == "" {
		file = f.c.getenv(variable("kong-conf"))
	}
	s, err := readKong(file, f.c.environ)
	if err != nil {
		return nil, err
	}
	t, err := s.translate()
	if err != nil {
		return nil, err
	}
	f.ignored = t.ignored
	return t.flags, nil
}

func (f *flags) readFile() (map[string]string, error) {
	if f.file == nil {
		return nil, nil
	}
	name := *f.file
	if name == "" {
		name = f.c.getenv("SEKI_CONFIG")
	}
	if name == "" {
		return nil, nil
	}
	*f.file = name
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("read settings %s: %w", name, err)
	}
	values := map[string]string{}
	for key, v := range tree {
		if f.Lookup(key) == nil || key == "config" {
			return nil, fmt.Errorf("%s: there is no setting named %q", name, key)
		}
		if list, ok := v.([]any); ok {
			parts := make([]string, len(list))
			for i, x := range list {
				parts[i] = fmt.Sprint(x)
			}
			values[key] = strings.Join(parts, ",")
			continue
		}
		values[key] = fmt.Sprint(v)
	}
	return values, nil
}
