// Command seki-gen makes pages of docs/reference from what the code and the tests read.
//
//	seki-gen differences    docs/reference/kong-differences.md from test/parity/differences.yaml
//	seki-gen ops            alert rules, dashboard, runbooks and thresholds from ops.Measures
//	seki-gen plugins        plugin/all/all.gen.go from the folders of plugin/
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

func main() {
	root, err := findRoot()
	if err == nil {
		err = run(root, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "seki-gen:", err)
		os.Exit(1)
	}
}

func run(root string, args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case "differences":
			return differences(filepath.Join(root, "test/parity/differences.yaml"), filepath.Join(root, "docs/reference/kong-differences.md"))
		case "plugins":
			return plugins(root)
		case "ops":
			return operations(root)
		}
	}
	return errors.New("usage: seki-gen differences|ops|plugins")
}

// findRoot is the folder of go.mod: go generate runs in a package's own.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above this folder")
		}
		dir = up
	}
}

// entry is one row of the table that the parity run reads too.
type entry struct {
	Cases   string `yaml:"cases"`
	Where   string `yaml:"where"`
	Kong    string `yaml:"kong"`
	Ours    string `yaml:"ours"`
	Reason  string `yaml:"reason"`
	Pending bool   `yaml:"pending"`
}

const head = `<!-- Made by seki-gen from test/parity/differences.yaml. Do not edit. -->
# Differences from Kong 3.9.1

What a client of Kong 3.9.1 may notice, and why it is so. The parity run reads the same table:
a recorded answer that differs and is not listed here fails it, and so does a row that no
longer differs.

| where | Kong 3.9.1 | Sekifuda | why |
|---|---|---|---|
`

func differences(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var list []entry
	if err := yaml.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var kept, pending bytes.Buffer
	for _, e := range list {
		w := &kept
		if e.Pending {
			w = &pending
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", e.Where, e.Kong, e.Ours, e.Reason)
	}
	page := head + kept.String()
	if pending.Len() > 0 {
		page += "\n## Not built yet\n\n| where | Kong 3.9.1 | Sekifuda | when |\n|---|---|---|---|\n" + pending.String()
	}
	return os.WriteFile(to, []byte(page), 0o644)
}
