package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/sekifuda/sekifuda/ops/archive"
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

// backup writes the whole configuration to a file, and reads it back.
func backup(ctx context.Context, c *call) error {
	f := c.flags("--to FILE|FOLDER [FLAGS]")
	f.serverFlag()
	to := f.String("to", "", "file, or folder in which a file is made")
	rev := f.Uint64("revision", 0, "as of this revision; 0: now")
	keys := f.keyFlags(true)
	return f.talk(ctx, 0, 0, func(ctx context.Context, cl *client) error {
		if *to == "" {
			f.Usage()
			return errUsage
		}
		recipients, err := keys.writers(c)
		if err != nil {
			return err
		}
		stream, err := controlv1.NewBackupServiceClient(cl.conn).Export(ctx, &controlv1.ExportRequest{Rev: *rev})
		if err != nil {
			return err
		}
		first, err := stream.Recv()
		if err != nil {
			return err
		}
		path := *to
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, fmt.Sprintf("sekifuda-%s-revision-%d.backup", first.GetHead().GetMadeAt().AsTime().Format("20060102T150405Z"), first.GetHead().GetRev()))
		}
		n, err := writeBackup(path, recipients, first, stream.Recv)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s: %d entities of revision %d, written and read back\n", path, n, first.GetHead().GetRev())
		return nil
	})
}

// writeBackup writes parts to a file that is there whole or not at all, and compares what the
// disk has with what was written.
func writeBackup(path string, recipients []age.Recipient, part *controlv1.ExportResponse, next func() (*controlv1.ExportResponse, error)) (n int, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".backup-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	sum := sha256.New()
	w, err := archive.NewWriter(io.MultiWriter(file, sum), recipients)
	if err != nil {
		return 0, err
	}
	for {
		n += len(part.GetEntities())
		if err := w.Write(part); err != nil {
			return 0, err
		}
		if part, err = next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
	}
	if err := errors.Join(w.Close(), file.Sync()); err != nil {
		return 0, err
	}
	if err := readBack(file, sum.Sum(nil)); err != nil {
		return 0, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return 0, err
	}
	return n, syncFolder(filepath.Dir(path))
}

// readBack reads a file again and compares.
func readBack(file *os.File, want []byte) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return fmt.Errorf("read the backup back: %w", err)
	}
	if string(sum.Sum(nil)) != string(want) {
		return errors.New("the disk has something else than what was written")
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readBackup reads a whole file.
func (c *call) readBackup(path string, keys keyFlags) (*controlv1.BackupHead, []*controlv1.Entity, error) {
	ids, err := keys.identities(c)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	head, all, err := archive.Read(f, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return head, all, nil
}

// restorePart is how many entities one message has.
const restorePart = 500

// restore makes configuration be what a backup has.
func restore(ctx context.Context, c *call) error {
	f := c.flags("FILE [FLAGS]")
	f.serverFlag()
	keys := f.keyFlags(false)
	dryRun := f.Bool("dry-run", false, "read and check it, say what it would do, write nothing")
	message := f.String("message", "", "why, kept with the revision")
	return f.talk(ctx, 1, 1, func(ctx context.Context, cl *client) error {
		head, all, err := c.readBackup(f.Arg(0), keys)
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
