package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/model/document"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// apply makes configuration be what files say: one revision for all of them.
func apply(ctx context.Context, c *call) error {
	f := c.flags("-f FILE [FLAGS]")
	f.serverFlag()
	f.waitFlag()
	file := f.String("f", "", "file or folder of declarative YAML; - for standard input")
	dryRun := f.Bool("dry-run", false, "show the difference and check it, write nothing")
	message := f.String("message", "", "why, kept with the revision")
	return f.talk(ctx, 0, 0, func(ctx context.Context, cl *client) error {
		if *file == "" {
			f.Usage()
			return errUsage
		}
		changes, err := cl.plan(ctx, c, *file)
		if err != nil {
			return err
		}
		ops, err := c.printPlan(changes)
		if err != nil || len(ops) == 0 {
			return err
		}
		res, err := cl.config.Commit(ctx, &controlv1.CommitRequest{Ops: ops, DryRun: *dryRun, Message: *message, Wait: f.waiting()})
		if err != nil {
			return err
		}
		if *dryRun {
			fmt.Fprintln(c.out, "dry run: nothing was written")
			return nil
		}
		c.printRevision(f, res)
		return nil
	})
}

// plan reads the files and finds what they would change.
func (cl *client) plan(ctx context.Context, c *call, file string) ([]document.Change, error) {
	files, err := c.read(file)
	if err != nil {
		return nil, err
	}
	var changes []document.Change
	for _, src := range files {
		d, err := document.Parse(src.raw, cl.schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.name, err)
		}
		list, err := d.Plan(existing{ctx, cl}, time.Now())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.name, err)
		}
		changes = append(changes, list...)
	}
	return changes, nil
}

type source struct {
	name string
	raw  []byte
}

// read reads a file, every YAML and JSON file of a folder, or standard input.
func (c *call) read(file string) ([]source, error) {
	if file == "-" {
		raw, err := io.ReadAll(c.in)
		return []source{{"standard input", raw}}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	names := []string{file}
	if info.IsDir() {
		names = nil
		for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
			found, err := filepath.Glob(filepath.Join(file, pattern))
			if err != nil {
				return nil, err
			}
			names = append(names, found...)
		}
		sort.Strings(names)
	}
	sources := make([]source, len(names))
	for i, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sources[i] = source{name, raw}
	}
	return sources, nil
}

// printPlan shows the difference and returns the operations that make it.
func (c *call) printPlan(changes []document.Change) ([]*controlv1.Op, error) {
	var ops []*controlv1.Op
	made, changed, same := 0, 0, 0
	now := time.Now()
	for i := range changes {
		ch := &changes[i]
		if ch.Same(now) {
			same++
			continue
		}
		if ch.Before == nil {
			made++
		} else {
			changed++
		}
		printChange(c.out, ch.Table, ch.Before, ch.After)
		spec, err := anypb.New(ch.After)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ch.Where, err)
		}
		ops = append(ops, &controlv1.Op{Op: &controlv1.Op_Put{Put: spec}})
	}
	fmt.Fprintf(c.out, "%d to create, %d to change, %d as they are\n", made, changed, same)
	return ops, nil
}
