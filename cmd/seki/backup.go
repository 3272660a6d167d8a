package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/sekifuda/sekifuda/ops/archive"
	"github.com/sekifuda/sekifuda/ops/place"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// keyFlags are what opens and closes backups.
type keyFlags struct {
	file       *string
	recipients *string
	plain      *bool
}

func (f *flags) keyFlags(writes bool) keyFlags {
	k := keyFlags{file: f.String("key-file", "", "file of age identities (age-keygen) that open a backup")}
	if writes {
		k.recipients = f.String("recipients", "", "age recipients (age1...) that can open it, comma-separated")
		k.plain = f.Bool("plain", false, "do not encrypt: the file has all keys and secrets in clear")
	}
	return k
}

// passphraseVariable is not a flag: a command line can be read by others.
const passphraseVariable = "SEKI_BACKUP_PASSPHRASE"

// identities are the keys that open a backup.
func (k keyFlags) identities(c *call) (keys []age.Identity, err error) {
	if *k.file != "" {
		f, err := os.Open(*k.file)
		if err != nil {
			return nil, fmt.Errorf("--key-file: %w", err)
		}
		defer f.Close()
		if keys, err = age.ParseIdentities(f); err != nil {
			return nil, fmt.Errorf("--key-file %s: %w", *k.file, err)
		}
	}
	if p := c.getenv(passphraseVariable); p != "" {
		id, err := age.NewScryptIdentity(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", passphraseVariable, err)
		}
		keys = append(keys, id)
	}
	return keys, nil
}

// writers are those who will be able to open a backup.
func (k keyFlags) writers(c *call) (all []age.Recipient, err error) {
	if *k.recipients != "" {
		if all, err = age.ParseRecipients(strings.NewReader(strings.ReplaceAll(*k.recipients, ",", "\n"))); err != nil {
			return nil, fmt.Errorf("--recipients: %w", err)
		}
	}
	keys, err := k.identities(c)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		switch key := key.(type) {
		case *age.X25519Identity:
			all = append(all, key.Recipient())
		case *age.ScryptIdentity:
			r, err := age.NewScryptRecipient(c.getenv(passphraseVariable))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", passphraseVariable, err)
			}
			all = append(all, r)
		}
	}
	if len(all) == 0 && !*k.plain {
		return nil, fmt.Errorf("a backup has all keys and secrets: name who can open it by --recipients, --key-file or %s, or say --plain", passphraseVariable)
	}
	return all, nil
}

// backup writes configuration to a file in a folder or bucket, and reads it back.
func backup(ctx context.Context, c *call) error {
	f := c.flags("--to FILE|FOLDER|s3://BUCKET/PREFIX [FLAGS]   (of a bucket AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL are read)")
	f.serverFlag()
	to := f.String("to", "", "file, or folder or bucket in which a file is made")
	rev := f.Uint64("revision", 0, "as of this revision; 0: now")
	incremental := f.Bool("incremental", false, "only what came after the newest backup that is there; a whole one where there is none")
	history := f.Bool("history", false, "with all revisions that are kept, so that a restore can go to each of them")
	keys := f.keyFlags(true)
	f.calls = backupWithin
	return f.talk(ctx, 0, 0, func(ctx context.Context, cl *client) error {
		if *to == "" {
			f.Usage()
			return errUsage
		}
		recipients, err := keys.writers(c)
		if err != nil {
			return err
		}
		at, name, err := c.backupPlace(*to)
		if err != nil {
			return err
		}
		req := &controlv1.ExportRequest{Rev: *rev, History: *history}
		if *incremental {
			if name != "" {
				return errors.New("--incremental goes on from the backups of a folder or bucket, --to names a file")
			}
			if req.Since, req.Epoch, err = newestNamed(ctx, at); err != nil {
				return err
			}
		}
		return c.export(ctx, cl, at, name, req, recipients)
	})
}

// backupWithin bounds a backup or restore.
const backupWithin = time.Hour

// backupPlace is where a backup goes, and under which name; "": one that tells what it is of.
func (c *call) backupPlace(to string) (at place.Place, name string, err error) {
	if info, err := os.Stat(to); strings.HasPrefix(to, "s3://") || err == nil && info.IsDir() {
		at, err = place.Open(to, c.getenv)
		return at, "", err
	}
	at, err = place.Open(filepath.Dir(to), c.getenv)
	return at, filepath.Base(to), err
}

// export writes what the control plane sends.
func (c *call) export(ctx context.Context, cl *client, at place.Place, name string, req *controlv1.ExportRequest, recipients []age.Recipient) error {
	stream, err := controlv1.NewBackupServiceClient(cl.conn).Export(ctx, req)
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if name == "" {
		name = backupName(first.GetHead())
	}
	// What is not whole is nowhere: the place gets a file that is.
	file, err := os.CreateTemp("", "seki-backup-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	n, err := writeBackup(file, recipients, first, stream.Recv)
	if err != nil {
		return err
	}
	if err := at.Put(ctx, name, file); err != nil {
		return err
	}
	what := fmt.Sprintf("%d entities of revision %d", n, first.GetHead().GetRev())
	if h := first.GetHead(); h.GetPartial() {
		what = fmt.Sprintf("%d changes of revisions %d to %d", n, h.GetBase(), h.GetRev())
	}
	_, err = fmt.Fprintf(c.out, "%s: %s, written and read back\n", at.Path(name), what)
	return err
}

// writeBackup writes parts to a file.
func writeBackup(file *os.File, recipients []age.Recipient, part *controlv1.ExportResponse, next func() (*controlv1.ExportResponse, error)) (n uint64, err error) {
	w, err := archive.NewWriter(file, recipients, part.GetHead())
	if err != nil {
		return 0, err
	}
	for {
		n += archive.Count(part)
		if err := w.Write(part); err != nil {
			return 0, err
		}
		if part, err = next(); errors.Is(err, io.EOF) {
			return n, w.Close()
		} else if err != nil {
			return 0, err
		}
	}
}

// restorePart is how many entities one message has.
const restorePart = 500

// restore makes configuration be what backups have.
func restore(ctx context.Context, c *call) error {
	f := c.flags("FILE... | FOLDER | s3://BUCKET/PREFIX [FLAGS]   (files in their order; of a folder or bucket those that are needed)")
	f.serverFlag()
	keys := f.keyFlags(false)
	until := f.Uint64("revision", 0, "as of this revision, where the backups have its history; 0: as of their end")
	dryRun := f.Bool("dry-run", false, "read and check it, say what it would do, write nothing")
	message := f.String("message", "", "why, kept with the revision")
	f.calls = backupWithin
	return f.talk(ctx, 1, maxFiles, func(ctx context.Context, cl *client) error {
		head, all, err := c.readBackups(ctx, f.Args(), keys, *until)
		if err != nil {
			return err
		}
		why := *message
		if why == "" {
			why = fmt.Sprintf("restore of revision %d from a backup of %s", head.GetRev(), head.GetMadeAt().AsTime().Format(time.RFC3339))
		}
		stream, err := controlv1.NewBackupServiceClient(cl.conn).Restore(ctx)
		if err != nil {
			return err
		}
		for i := 0; i == 0 || i < len(all); i += restorePart {
			req := &controlv1.RestoreRequest{Message: why, DryRun: *dryRun, Entities: all[i:min(i+restorePart, len(all))]}
			if err := stream.Send(req); err != nil {
				break // the answer says why
			}
		}
		res, err := stream.CloseAndRecv()
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "backup of revision %d, made %s: %d to write, %d to delete, %d as they are\n", head.GetRev(),
			head.GetMadeAt().AsTime().Local().Format(time.DateTime), res.GetWritten(), res.GetDeleted(), res.GetSame())
		switch {
		case *dryRun:
			fmt.Fprintln(c.out, "dry run: nothing was written")
		case res.GetWritten()+res.GetDeleted() > 0:
			fmt.Fprintf(c.out, "revision %d\n", res.GetRevision().GetRev())
		}
		return nil
	})
}
