package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/movable"
	"github.com/sekifuda/sekifuda/controlplane/store/postgres"
	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// moveWithin bounds a move: a million entities take a few minutes.
const moveWithin = 30 * time.Minute

// storeVerb moves the embedded store of a control plane that runs.
func storeVerb(ctx context.Context, c *call) error {
	f := c.flags("move URL [FLAGS]   (of an empty PostgreSQL; - reads the URL from standard input)")
	f.serverFlag()
	f.calls = moveWithin
	return f.talk(ctx, 2, 2, func(ctx context.Context, cl *client) error {
		if f.Arg(0) != "move" {
			f.Usage()
			return errUsage
		}
		to := f.Arg(1)
		if to == "-" {
			raw, err := io.ReadAll(io.LimitReader(c.in, 1<<16))
			if err != nil {
				return err
			}
			to = strings.TrimSpace(string(raw))
		}
		res, err := cl.store.Move(ctx, &controlv1.MoveRequest{DatabaseUrl: to})
		if err != nil {
			return err
		}
		return c.printMove(res)
	})
}

func (c *call) printMove(res *controlv1.MoveResponse) error {
	fmt.Fprintf(c.out, "moved to %s at revision %d; writes waited for %s\n", res.GetDatabase(), res.GetRev(), res.GetHeld().AsDuration().Round(time.Millisecond))
	for _, t := range slices.Sorted(maps.Keys(res.GetRows())) {
		fmt.Fprintf(c.out, "  %-12s %d rows, read back\n", t, res.GetRows()[t])
	}
	_, err := fmt.Fprintf(c.out, "a restart goes on there by itself; say it in the settings too: %s=URL\n"+
		"the key of secrets lies in that database now; --kek-file with a new key and seki keys rotate keep it apart\n", variable("database-url"))
	return err
}

// movedFile holds, for its owner alone, the URL of the database that the data folder's store was
// moved to.
const movedFile = "database-url"

// followMove puts the database that an embedded store was moved to in the place of an empty URL.
func followMove(databaseURL *string, dataDir string) error {
	if *databaseURL != "" {
		return nil
	}
	raw, err := os.ReadFile(filepath.Join(dataDir, movedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look where the store was moved to: %w", err)
	}
	*databaseURL = strings.TrimSpace(string(raw))
	return nil
}

// safeURL is a database's URL without what is secret in it.
func safeURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "the database"
	}
	return u.Host + u.Path
}

// mover is how the store moves; nil: it cannot.
func (p *process) mover(st store.Store, s *officeSettings) func(context.Context, string) (*controlv1.MoveResponse, error) {
	m, ok := st.(*movable.Store)
	if !ok {
		return nil
	}
	return func(ctx context.Context, to string) (*controlv1.MoveResponse, error) {
		target, err := postgres.Open(ctx, to, postgres.Options{})
		if err != nil {
			return nil, &fault.Error{Kind: fault.Conflict, Message: fmt.Sprintf("open %s: %v", safeURL(to), err), Err: err}
		}
		rows, held, err := m.Move(ctx, target, func() error { return p.keepMove(ctx, target, to, s) })
		if err != nil {
			_ = target.Close() // nobody used it
			return nil, &fault.Error{Kind: fault.Conflict, Message: fmt.Sprintf("nothing was moved: %v", err), Err: err}
		}
		head, err := target.Head(ctx)
		if err != nil {
			return nil, err
		}
		p.log.Warn("the store was moved", "database", safeURL(to), "revision", head.Rev, "writes_waited", held)
		return &controlv1.MoveResponse{Database: safeURL(to), Rev: head.Rev, Rows: rows, Held: durationpb.New(held)}, nil
	}
}

// keepMove has the next start, here or on another machine, find the database and open its secrets:
// a key that lay in the data folder comes along.
func (p *process) keepMove(ctx context.Context, target store.Store, to string, s *officeSettings) error {
	if s.kekFile == "" && p.call.getenv("SEKI_KEK") == "" {
		raw, err := keyring.KeptRaw(filepath.Join(p.dataDir, "kek"))
		if err == nil {
			_, err = target.Secret(ctx, "kek", raw)
		}
		if err != nil {
			return fmt.Errorf("take the key of secrets along: %w", err)
		}
	}
	path := filepath.Join(p.dataDir, movedFile)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(to + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
