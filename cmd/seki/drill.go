package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/model"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// rehearsal is what a drill came to, as it is noted beside the backups.
type rehearsal struct {
	Backup   string        `json:"backup"`
	At       time.Time     `json:"at"`
	Revision uint64        `json:"revision"`
	Entities int           `json:"entities"`
	Age      time.Duration `json:"age"`      // what would be lost: time since the backup
	Duration time.Duration `json:"duration"` // what a restore takes
}

// drill restores a backup into a scratch store and compares.
func drill(ctx context.Context, c *call) error {
	f := c.flags("FILE|FOLDER [FLAGS]   (of a folder its newest backup; the rehearsal is noted in FOLDER/drills)")
	keys := f.keyFlags(false)
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() != 1 {
		f.Usage()
		return errUsage
	}
	path, dir := f.Arg(0), f.Arg(0)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir = filepath.Dir(path)
	}
	begin := time.Now()
	head, all, err := c.readBackups(ctx, []string{path}, keys, 0)
	if err != nil {
		return err
	}
	if err := rehearse(ctx, all); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := rehearsal{
		Backup: filepath.Base(path), At: begin.UTC(), Revision: head.GetRev(), Entities: len(all),
		Age: begin.Sub(head.GetMadeAt().AsTime()).Round(time.Second), Duration: time.Since(begin).Round(time.Millisecond),
	}
	fmt.Fprintf(c.out, "%s: %d entities of revision %d restored into a scratch store, compared, and compiled as nodes do\n", path, r.Entities, r.Revision)
	fmt.Fprintf(c.out, "a restore takes %v; what was written in the last %v would be lost\n", r.Duration, r.Age)
	if strings.HasPrefix(dir, "s3://") {
		fmt.Fprintln(c.out, "it is not noted: that wants a folder")
		return nil
	}
	return noteRehearsal(dir, &r)
}

// flavorOf is the router flavor under which entities were written: only expressions has routes
// with a priority.
func flavorOf(all []*controlv1.Entity) string {
	for _, e := range all {
		r := &entityv1.Route{}
		if e.GetKind() == "routes" && e.GetSpec().UnmarshalTo(r) == nil && r.Priority != nil {
			return model.Expressions
		}
	}
	return model.TraditionalCompatible
}

// rehearse restores into a store of its own and compares what it then has.
func rehearse(ctx context.Context, all []*controlv1.Entity) (err error) {
	plugins, s, err := build(flavorOf(all))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "seki-drill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	st, err := sqlite.Open(ctx, filepath.Join(dir, "store.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	desk := config.New(st, s, checker{plugins, s}, time.Now)
	entities := make([]*config.Entity, len(all))
	for i, e := range all {
		m, err := e.GetSpec().UnmarshalNew()
		if err != nil {
			return fmt.Errorf("%s %s: %w", e.GetKind(), e.GetId(), err)
		}
		t := s.TableOf(m)
		if t == nil {
			return fmt.Errorf("%s %s: this version has no such kind", e.GetKind(), e.GetId())
		}
		entities[i] = &config.Entity{Table: t, ID: e.GetId(), Message: m}
	}
	if _, err := desk.Restore(ctx, entities, false, config.Origin{Actor: "drill"}); err != nil {
		return err
	}
	return compare(ctx, desk, entities)
}

// compare reads a store and holds it against what was put there.
func compare(ctx context.Context, desk *config.Config, want []*config.Entity) error {
	if len(want) == 0 {
		return nil
	}
	_, restored, err := desk.Load(ctx, 0)
	if err != nil {
		return err
	}
	left := make(map[string]proto.Message, len(want))
	for _, e := range want {
		left[e.Table.Kind+"/"+e.ID] = e.Message
	}
	for e, err := range restored {
		if err != nil {
			return err
		}
		name := e.Table.Kind + "/" + e.ID
		if !proto.Equal(left[name], e.Message) {
			return fmt.Errorf("%s came back as something else", name)
		}
		delete(left, name)
	}
	for name := range left {
		return fmt.Errorf("%s did not come back", name)
	}
	return nil
}

func noteRehearsal(dir string, r *rehearsal) error {
	dir = filepath.Join(dir, "drills")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("note the rehearsal: %w", err)
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, r.At.Format("20060102T150405Z")+".json")
	if err := os.WriteFile(name, append(raw, '\n'), 0o640); err != nil {
		return fmt.Errorf("note the rehearsal: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, metricsFile), r.metrics(), 0o644); err != nil {
		return fmt.Errorf("publish the rehearsal: %w", err)
	}
	return nil
}

// metricsFile is what Prometheus' node exporter publishes where --collector.textfile.directory is
// the folder of rehearsals.
const metricsFile = "sekifuda_drill.prom"

func (r *rehearsal) metrics() []byte {
	var b []byte
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"sekifuda_drill_timestamp_seconds", "When a restore was rehearsed last.", float64(r.At.Unix())},
		{"sekifuda_drill_restore_seconds", "How long the restore took: the recovery time.", r.Duration.Seconds()},
		{"sekifuda_drill_loss_seconds", "How old the newest backup was: the recovery point.", r.Age.Seconds()},
		{"sekifuda_drill_entities", "How many entities came back.", float64(r.Entities)},
	} {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %g\n", m.name, m.help, m.name, m.name, m.value)
	}
	return b
}
